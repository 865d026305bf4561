package main

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
)

// maxMemory is what /oom takes at most, in MiB.
const maxMemory = 4096

// crash ends the process at once, without an answer: ?code=, 1 by default.
func (a *app) crash(w http.ResponseWriter, r *http.Request) {
	if code, ok := queryNumber(w, r, "code", 1); ok {
		a.log.Info("Crashing", "code", code)
		os.Exit(int(code))
	}
}

// hang answers this request and none afterwards, until the app is restarted.
func (a *app) hang(w http.ResponseWriter, _ *http.Request) {
	a.hanging.Store(true)
	fmt.Fprintln(w, "hanging from now on")
}

// fallIll makes /status answer 503; everything else works on.
func (a *app) fallIll(w http.ResponseWriter, _ *http.Request) {
	a.unhealthy.Store(true)
	fmt.Fprintln(w, "unhealthy from now on")
}

// recover undoes fallIll.
func (a *app) recover(w http.ResponseWriter, _ *http.Request) {
	a.unhealthy.Store(false)
	fmt.Fprintln(w, "healthy from now on")
}

// outOfMemory takes ?mb= MiB (1024 by default) while the request lasts.
func (a *app) outOfMemory(w http.ResponseWriter, r *http.Request) {
	size, ok := queryNumber(w, r, "mb", 1024)
	if !ok {
		return
	}
	if size > maxMemory {
		http.Error(w, fmt.Sprintf("mb must be at most %d", maxMemory), http.StatusBadRequest)
		return
	}
	const page = 4096
	var held [][]byte
	for range size {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += page {
			block[i] = 1
		}
		held = append(held, block)
	}
	fmt.Fprintf(w, "%d MiB taken\n", len(held))
	runtime.KeepAlive(held)
}
