package cli

import (
	"errors"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"edgespawner/spawner/daemon"
)

func (a *app) serve() *cobra.Command {
	config := daemon.DefaultConfig()
	config.Version = versionText()
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the spawner",
		Long: `Run the spawner until it is told to end.

Each flag has a twin in the environment: SPAWNER_API_ADDRESS for --api-address; a
flag wins over its twin, and an empty twin counts as absent. Long flags may be
written with one dash. Several edges stand in SPAWNER_EDGE with blanks between.`,
		Args: exactly(),
	}
	config.BindFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded := config.Load(cmd.Flags(), a.LookupEnv)
		if err := errors.Join(loaded, config.Validate()); err != nil {
			return &usageError{cmd, err}
		}
		log := newLogger(a.Err, config)
		for _, note := range config.Notes() {
			log.Warn(note)
		}
		return daemon.Run(cmd.Context(), config, log)
	}
	return cmd
}

func newLogger(out io.Writer, config daemon.Config) *slog.Logger {
	options := &slog.HandlerOptions{Level: config.LogLevel}
	if config.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}
