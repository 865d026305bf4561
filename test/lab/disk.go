package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// makeDisk makes the node's folder and, where it has a disk of its own, mounts that.
func (n *Node) makeDisk(ctx context.Context) error {
	for _, directory := range []string{n.dir(), n.dataRoot(), filepath.Join(n.dir(), "etc")} {
		if err := os.MkdirAll(directory, 0o711); err != nil {
			return fmt.Errorf("cannot make the disk of %s: %w", n.Name, err)
		}
	}
	if n.state().DiskMB == 0 {
		return nil
	}
	return run(ctx, "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm,mode=711", n.state().DiskMB), "lab-disk", n.dataRoot())
}

func (n *Node) removeDisk(ctx context.Context) error {
	if n.state().DiskMB == 0 || !mounted(n.dataRoot()) {
		return nil
	}
	return run(ctx, "umount", n.dataRoot())
}

// mounted says whether something is mounted on the folder: it then lies on
// another device than the folder around it.
func mounted(directory string) bool {
	var own, around syscall.Stat_t
	return syscall.Stat(directory, &own) == nil && syscall.Stat(filepath.Dir(directory), &around) == nil && own.Dev != around.Dev
}

func (n *Node) ballast() string { return filepath.Join(n.dataRoot(), "ballast") }

// Fill fills the node's disk to the last byte. Only a disk of its own can be filled.
func (n *Node) Fill() error {
	if n.state().DiskMB == 0 || !mounted(n.dataRoot()) {
		return fmt.Errorf("cannot fill the disk of %s: it is the disk of this machine", n.Name)
	}
	file, err := os.OpenFile(n.ballast(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("cannot fill the disk of %s: %w", n.Name, err)
	}
	defer file.Close()
	_, err = io.CopyN(file, zeros{}, int64(n.state().DiskMB)<<20)
	if err == nil || errors.Is(err, syscall.ENOSPC) {
		return nil
	}
	return fmt.Errorf("cannot fill the disk of %s: %w", n.Name, err)
}

// Free undoes Fill.
func (n *Node) Free() error {
	if err := os.Remove(n.ballast()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot free the disk of %s: %w", n.Name, err)
	}
	return nil
}

type zeros struct{}

func (zeros) Read(into []byte) (int, error) {
	clear(into)
	return len(into), nil
}
