package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// statePause lies between two tries for a state directory that is in use.
const statePause = 500 * time.Millisecond

// claimState makes a state directory this process's own, waiting while another
// spawner has it: two that share a database share its identity too, and no
// lease would keep them apart. The kernel gives the directory free when the
// process ends, however it does. A nil claim without an error: ctx ended before.
func claimState(ctx context.Context, dir string, log *slog.Logger) (claim *os.File, err error) {
	if err := ensureStateDir(dir); err != nil {
		return nil, err
	}
	claim, err = os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot claim --state-dir: %w", err)
	}
	told := false
	for {
		err = syscall.Flock(int(claim.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return claim, nil
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return nil, errors.Join(fmt.Errorf("cannot claim --state-dir: %w", err), claim.Close())
		case !told:
			log.Warn("Standing by: another spawner runs on this state directory", "directory", dir)
			told = true
		}
		select {
		case <-time.After(statePause):
		case <-ctx.Done():
			return nil, claim.Close()
		}
	}
}
