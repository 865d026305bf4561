package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// manyEvents is how many events are listed and streamed.
const manyEvents = 10_000

// recordedEvents lists and streams 10,000 events. The floor reads the same rows
// from the same file and writes them as JSON, in this process.
func recordedEvents(b *bench) {
	s := stand.Start(b, stand.WithEdges(0), stand.NotYet())
	s.StartAll()
	s.Spawner.Stop()
	file := filepath.Join(s.Spawner.StateDir, "spawner.db")
	b.fillEvents(file)
	s.StartAll()
	before := b.memoryOf(s.Spawner.PID())
	var floor, list, stream, page []float64
	size := 0
	for range b.rounds {
		floor = append(floor, b.timed(func() { size = b.readEvents(file) }))
		list = append(list, b.timed(func() { b.listEvents(s, fmt.Sprintf("?limit=%d", manyEvents), manyEvents) }))
		stream = append(stream, b.timed(func() { b.streamEvents(s) }))
		page = append(page, b.timed(func() { b.listEvents(s, fmt.Sprintf("?before=%d&type=wake,exit", manyEvents/2), 100) }))
	}
	b.show("the floor: 10,000 rows read and written as JSON", median(floor), "ms", spread(floor))
	b.show("list of 10,000 events", median(list), "ms", fmt.Sprintf("%.2f MB, %.0f events/s, %.2f of the floor's time; %s",
		float64(size)/1e6, manyEvents/median(list)*1000, median(ratios(list, floor)), spread(list)))
	b.show("stream of 10,000 events to their end", median(stream), "ms", fmt.Sprintf("%.0f events/s; %s", manyEvents/median(stream)*1000, spread(stream)))
	b.show("a page of 100 out of the middle, of two types", median(page), "ms", spread(page))
	b.show("spawner's memory before, MB", before, "MB", "resident")
	b.show("spawner's memory after, MB", b.memoryOf(s.Spawner.PID()), "MB", "resident")
	b.slowFollowers(s)
	b.liveEvents(s)
}

// timed returns how long f takes, in ms.
func (b *bench) timed(f func()) float64 {
	began := time.Now()
	f()
	return milliseconds(time.Since(began))
}

func (b *bench) mustDo(err error, what string) {
	if err != nil {
		b.Fatalf("cannot %s: %v", what, err)
	}
}

// fillEvents puts events as a fleet makes them into the database of a spawner that is down.
func (b *bench) fillEvents(file string) {
	db, err := sql.Open("sqlite3", file)
	b.mustDo(err, "open the database")
	defer db.Close()
	tx, err := db.Begin()
	b.mustDo(err, "write events")
	_, err = tx.Exec("DELETE FROM events")
	b.mustDo(err, "write events")
	_, err = tx.Exec("DELETE FROM sqlite_sequence WHERE name = 'events'")
	b.mustDo(err, "write events")
	kinds := []fleet.EventType{fleet.EventStep, fleet.EventHealth, fleet.EventWake, fleet.EventExit, fleet.EventRestart}
	began := time.Now().Add(-24 * time.Hour)
	for i := range manyEvents {
		service := fmt.Sprintf("service-%02d", i%40)
		_, err := tx.Exec("INSERT INTO events (timestamp, type, service, container, node, message, by) VALUES (?, ?, ?, ?, ?, ?, ?)",
			began.Add(time.Duration(i)*time.Second).UnixNano(), string(kinds[i%len(kinds)]), service, service+"-1", "local",
			fmt.Sprintf("Container %s-1 failed health check: status 503 instead of 200", service), "admin")
		b.mustDo(err, "write events")
	}
	b.mustDo(tx.Commit(), "write events")
}

// readEvents is the floor; it returns the size of what it has written.
func (b *bench) readEvents(file string) int {
	db, err := sql.Open("sqlite3", file+"?mode=ro")
	b.mustDo(err, "open the database")
	defer db.Close()
	rows, err := db.Query("SELECT id, timestamp, type, service, container, node, message, by FROM events WHERE id <= ? ORDER BY id", manyEvents)
	b.mustDo(err, "read events")
	defer rows.Close()
	var events []fleet.Event
	for rows.Next() {
		var e fleet.Event
		var at int64
		b.mustDo(rows.Scan(&e.ID, &at, &e.Type, &e.Service, &e.Container, &e.NodeID, &e.Message, &e.By), "read an event")
		e.Timestamp = time.Unix(0, at).UTC()
		events = append(events, e)
	}
	b.mustDo(rows.Err(), "read events")
	var out bytes.Buffer
	b.mustDo(json.NewEncoder(&out).Encode(events), "write events")
	return out.Len()
}

// listEvents asks the API for a list and counts what it answers.
func (b *bench) listEvents(s *stand.Stand, query string, want int) {
	request, err := http.NewRequest(http.MethodGet, s.Spawner.APIURL+"/api/events"+query, nil)
	b.mustDo(err, "ask for events")
	request.Header.Set("Authorization", "Bearer "+s.Spawner.AdminToken())
	response, err := http.DefaultClient.Do(request)
	b.mustDo(err, "ask for events")
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	b.mustDo(err, "read events")
	if count := bytes.Count(text, []byte(`"id":`)); count != want {
		b.Fatalf("got %d events, want %d: %.200s", count, want, text)
	}
}

var errEnough = errors.New("enough")

// streamEvents follows all events from the first on.
func (b *bench) streamEvents(s *stand.Stand) {
	seen := 0
	err := s.Client.FollowEvents(context.Background(), fleet.EventFilter{After: -1}, func(e fleet.Event) error {
		if seen++; seen == manyEvents {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		b.Fatalf("the stream ended after %d events: %v", seen, err)
	}
}

// slowFollowers opens streams of all events that nobody reads.
func (b *bench) slowFollowers(s *stand.Stand) {
	const followers = 50
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range followers {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Spawner.APIURL+"/api/events?follow&after=0", nil)
		b.mustDo(err, "follow events")
		request.Header.Set("Authorization", "Bearer "+s.Spawner.AdminToken())
		response, err := http.DefaultClient.Do(request)
		b.mustDo(err, "follow events")
		b.Cleanup(func() { response.Body.Close() })
	}
	time.Sleep(3 * time.Second)
	b.show("spawner's memory with 50 followers that read nothing", b.memoryOf(s.Spawner.PID()), "MB", "resident; each could read 10,000 events")
}

// liveEvents measures from an answered call to its event at a follower.
func (b *bench) liveEvents(s *stand.Stand) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	arrived := make(chan time.Time, 64)
	go func() {
		_ = s.Client.FollowEvents(ctx, fleet.EventFilter{Types: []fleet.EventType{fleet.EventAccess}}, func(fleet.Event) error {
			arrived <- time.Now()
			return nil
		})
	}()
	time.Sleep(500 * time.Millisecond) // it stands
	var late []float64
	for i := range b.rounds {
		_, err := s.Client.AddToken(ctx, fmt.Sprint("bench-", i), fleet.ScopeRead, time.Hour)
		b.mustDo(err, "make a token")
		done := time.Now()
		late = append(late, milliseconds((<-arrived).Sub(done)))
	}
	b.show("from a call's answer to its event at a follower", median(late), "ms", fmt.Sprintf("p95 %.0f ms; events of 100 ms are stored together", percentile(late, 0.95)))
}
