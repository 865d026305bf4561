// Package scheduler chooses nodes for replicas. It is pure: a picture of the
// cluster and a demand in, a node or the reasons why none fits out; no I/O, no
// clock, no chance.
//
// # What may be chosen
//
// A node takes a replica when it is open (ready, not draining), the image is
// made for its platform, all constraints hold for its labels, it has the
// volumes, its host ports are free, what it has of CPU and memory is not
// reserved, no replica of the service stands where anti-affinity forbids one
// more, and every required spread stays within its skew. When none does, the
// error says of every node what the first of these in this order was, the most
// frequent first.
//
// # What is chosen
//
// Of the nodes that fit, the best by these, the earlier deciding:
//
//  1. preferred spreads, in their order: the value with the fewest replicas of the service;
//  2. preferred labels: the node for which most of them hold;
//  3. strategy spread: the node with the fewest replicas of the service;
//  4. the strategy's score of what the node's load would be, between 0 and 1, and
//     imageBonus where the image is there already;
//  5. the number of replicas on it: the fewest, with binpack the most; its name.
//
// The score is the exponential one known as BestFit v3, from Google's work on
// scheduling in data centres (www.columbia.edu/~cs2035/courses/ieor4405.S13/datacenter_scheduling.ppt);
// in Nomad it is ScoreFitBinPack and ScoreFitSpread. With f the share of a
// resource that stays free, binpack is (20 - 10^f(cpu) - 10^f(memory)) / 18 and
// spread (10^f(cpu) + 10^f(memory) - 2) / 18. A replica that reserves nothing is counted with a nominal load there, and only there.
//
// Every choice is exact: all nodes are looked at, none is left out by sampling.
// A batch of equal replicas gives what as many single placements would; it is
// faster since a placement changes the rank of one node alone, so that the
// others keep theirs in a heap.
//
// A Cluster is not safe for concurrent use. What was placed stays held in it, so
// whoever places on one cluster after another, each made under one lock with
// everything held that was promised before, promises no room twice.
package scheduler
