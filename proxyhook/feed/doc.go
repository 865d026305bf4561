// Package feed tells the edges where public traffic goes, and knows what each
// of them has made of it. It serves the dynamic configuration as a long poll,
// proves by probes through the edges that a document is in force, finds the
// service whose routes an edge refuses, and watches over certificates. It does
// not know how a document looks: proxyhook renders it.
//
// # What a confirmation rests on
//
// A document goes through three states on an edge. It is offered when it has
// been written to the edge's connection; received when that connection polls
// again, which an edge does for a document that it refuses too; and applied
// when a request through each public entry point of the edge, for a host name
// that only the spawner knows, is answered by the fallback router with the
// document's own hash. Each document that an edge may still hold has a hash of
// its own: one that is offered again after another one is given a new number.
//
// Confirmed waits until every edge has applied a version. It never waits for ever:
//
//   - An edge that has not polled for 20 s is lost and waited for no longer. For
//     ten minutes a confirmation names it, then Edges alone does.
//   - An entry point without a known URL can only be known to have received:
//     its documents count as applied a short while after the poll. The same
//     holds, after 5 s of asking in vain, for an entry point whose URL does not
//     answer or leads somewhere else, until it answers properly again. Both are
//     said in Edges.
//   - An edge that received a document 5 s ago and still proves another one (or
//     none, after having proved one before) refused it. The services whose
//     specs it has not accepted before are held back, then put back in halves
//     until those are found that it refuses. A service held back keeps the
//     routes of the revision that the edge accepted last, with its present
//     endpoints, or has none. Confirmed returns an error for the version that
//     brought the refused spec, and only for that one.
//   - Whatever else may happen, Confirmed returns an error after 30 s. Who
//     wanted to put a service to sleep leaves it awake then.
package feed
