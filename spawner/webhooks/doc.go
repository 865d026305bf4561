// Package webhooks sends events to receivers that an admin named, each message
// signed as Standard Webhooks has it (https://www.standardwebhooks.com). It
// records and filters nothing itself: it follows the record of events.
//
// # Promises
//
// Each receiver is sent each event that its webhook selects at least once, in
// order, from the moment on at which the webhook was made: how far it is stands
// in the store, so a spawner that is killed goes on where it was, and may send
// its last event once more, under the same webhook-id. What is not taken is
// sent again, with growing pauses; an event that could not be delivered within
// giveUpAfter is left out, and an event says how many were.
//
// A receiver that is slow or away delays nobody else: each webhook has one
// goroutine, and events wait for it in the database, not in memory. Redirects
// are not followed. The secret is in no event, no log and no answer but the one
// that makes it; the URL, which may hold one, only in answers to admins.
package webhooks
