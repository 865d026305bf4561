// Package sqlite keeps what must outlive the process: services with their
// revisions, jobs, events, addresses, nodes, tokens and settings, in one SQLite
// file. It knows nothing of Docker, of HTTP, or of what a status means.
//
// Durability. The database runs in WAL mode. A write that somebody is answered
// for (a service, a revision, a new or ended job, an address, a node, a token, a
// setting) is synced to the disk before its method returns: it survives kill -9
// of the process and loss of power. A note (an event, the progress of a job, the
// last use of a token) is written without that sync: it survives kill -9, and loss
// of power may take the newest notes, never the oldest, and never the file's
// consistency. Each synced write syncs all notes before it.
//
// Locking. One connection writes, a few read; writers queue in the process and
// wait for other processes up to busyTimeout. Readers never wait for writers. An
// open store holds a shared lock on <file>.lock, which is how Restore knows that
// a spawner uses the file.
//
// Secrets. Values of env stand in the table env and nowhere else: the spec of a
// revision is stored without them. Of tokens only the hash is kept. The file,
// its companions and every copy have mode 0600.
//
// Times are stored as nanoseconds since 1970 in UTC, 0 for the zero time.
package sqlite
