// Package lab runs real Docker engines on one Linux machine and breaks them.
//
// Each node of a lab is an engine with a containerd, a data root and a network
// namespace of its own, plugged into a bridge that stands for the network
// between machines. A node can be cut off, wholly or from others; its engine
// can be frozen, killed or made slow; its disk can be filled; and it can lose
// its power, with all that runs on it. What a lab has made is written down
// before it is made, so that Down, and the next Up after a crash, remove all of
// it and nothing else: processes are known by the namespace and the control
// group that they are in, never by their names.
//
// It needs root. It knows nothing of the spawner.
package lab
