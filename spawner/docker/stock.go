package docker

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/volume"

	"edgespawner/fleet"
)

// Stock tells what a node keeps beside containers.
type Stock struct{ pool *Pool }

// Stock returns the view of the pool that tells what nodes keep.
func (p *Pool) Stock() *Stock { return &Stock{p} }

// Stock returns the references of the node's images, the names of its volumes,
// the ports that containers hold which are of no service of this fleet, and which
// other fleets have containers there.
func (s *Stock) Stock(ctx context.Context, nodeName string) (fleet.Stock, error) {
	var stock fleet.Stock
	err := s.pool.askWithin(ctx, infoTimeout, nodeName, "list images and volumes and ports", func(ctx context.Context, n *node) error {
		images, err := n.client.ImageList(ctx, image.ListOptions{})
		if err != nil {
			return err
		}
		for _, found := range images {
			stock.Images = append(stock.Images, references(found.RepoTags)...)
		}
		volumes, err := n.client.VolumeList(ctx, volume.ListOptions{})
		if err != nil {
			return err
		}
		for _, found := range volumes.Volumes {
			stock.Volumes = append(stock.Volumes, found.Name)
		}
		running, err := n.client.ContainerList(ctx, container.ListOptions{})
		if err != nil {
			return err
		}
		stock.Ports = s.pool.heldByStrangers(n, running)
		stock.Fleets = s.pool.otherFleets(running)
		return nil
	})
	return stock, err
}

// heldByStrangers are the ports that running containers hold which are of no service of this fleet.
func (p *Pool) heldByStrangers(n *node, running []container.Summary) []fleet.HeldPort {
	var held []fleet.HeldPort
	for _, summary := range running {
		c := listed(n.name, summary)
		if c.Labels[fleet.LabelFleet] == p.fleetID && c.Labels[fleet.LabelService] != "" {
			continue
		}
		for _, port := range c.Ports {
			held = append(held, fleet.HeldPort{Port: port, Holder: "container " + c.Name})
		}
	}
	return held
}

// otherFleets are the fleets beside this one that have containers among them.
func (p *Pool) otherFleets(running []container.Summary) []string {
	ids := map[string]bool{}
	for _, summary := range running {
		if id := summary.Labels[fleet.LabelFleet]; id != "" && id != p.fleetID {
			ids[id] = true
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

// references are the ways to write an image's tags: latest may be left out.
func references(tags []string) []string {
	var list []string
	for _, tag := range tags {
		if tag == "<none>:<none>" {
			continue
		}
		list = append(list, tag)
		if short, ok := strings.CutSuffix(tag, ":latest"); ok {
			list = append(list, short)
		}
	}
	return list
}

// RemoveVolume removes a volume that this fleet has made. Nil when there is no
// such volume or it is another's; Conflict while a container uses it.
func (s *Stock) RemoveVolume(ctx context.Context, nodeName, name string) (removed bool, err error) {
	err = s.pool.ask(ctx, nodeName, "remove volume "+name, func(ctx context.Context, n *node) error {
		found, err := n.client.VolumeInspect(ctx, name)
		if isNotFound(err) || err == nil && found.Labels[fleet.LabelFleet] != s.pool.fleetID {
			return nil
		}
		if err != nil {
			return err
		}
		err = n.client.VolumeRemove(ctx, name, false)
		removed = err == nil
		return err
	})
	return removed, err
}
