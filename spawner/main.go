// Spawner deploys replicas of services on Docker nodes, gives them their routes
// in Traefik, lets idle ones sleep and wakes them with the next request.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // an image from scratch has no zones

	_ "golang.org/x/crypto/x509roots/fallback" // nor certificate authorities

	"edgespawner/spawner/cli"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	return cli.Run(ctx, cli.ThisSystem(), os.Args[1:])
}
