// Package cli is the command line of the spawner: one command per file, named
// for its verb. It turns words into calls of the private API and answers into
// tables for people or JSON for programs; it decides nothing about services.
//
// A command ends with exit code 0 only when the thing asked for has happened:
// verbs that become a job are followed to its end. Errors go to standard error,
// a line each, as "spawner: <field>: <message>".
package cli
