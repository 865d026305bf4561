package lab

import (
	"context"
	"path/filepath"
)

// Load brings images of the machine's own engine onto every node.
func (l *Lab) Load(ctx context.Context, images ...string) error {
	file := filepath.Join(l.Dir, "images.tar")
	if err := run(ctx, append([]string{"docker", "save", "-o", file}, images...)...); err != nil {
		return err
	}
	return l.each(ctx, func(n *Node, ctx context.Context) error {
		_, err := n.Docker(ctx, "load", "-i", file)
		return err
	})
}
