package api

import (
	"context"
	"net/http"
	"slices"
	"sync"

	"edgespawner/fleet"
)

func (a *API) nodes(w http.ResponseWriter, r *request) error {
	nodes, err := a.listNodes(r, "")
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, nodes)
}

func (a *API) node(w http.ResponseWriter, r *request) error {
	nodes, err := a.listNodes(r, r.name("name"))
	if err != nil {
		return err
	}
	if len(nodes) == 0 {
		return fleet.Errorf(fleet.NotFound, "there is no node %q", r.name("name"))
	}
	return writeJSON(w, http.StatusOK, nodes[0])
}

// listNodes returns the nodes, or the one of that name, with ?used what is used of each.
func (a *API) listNodes(r *request, name string) ([]fleet.Node, error) {
	used, err := r.flag("used")
	if err != nil {
		return nil, err
	}
	nodes, err := a.config.Questions.Nodes(r.Context())
	if err != nil {
		return nil, err
	}
	nodes = list(slices.DeleteFunc(nodes, func(n fleet.Node) bool { return name != "" && n.Name != name }))
	if !used {
		return nodes, nil
	}
	var measuring sync.WaitGroup
	for i, node := range nodes {
		if node.State != fleet.NodeReady {
			continue
		}
		measuring.Go(func() {
			if load, err := a.config.Nodes.UsageOfNode(r.Context(), node.Name); err == nil {
				nodes[i].Used = &load
			}
		})
	}
	measuring.Wait()
	return nodes, nil
}

func (a *API) addNode(w http.ResponseWriter, r *request) error {
	var spec fleet.NodeSpec
	if err := r.decode(w, &spec); err != nil {
		return err
	}
	if err := spec.Validate(); err != nil {
		return err
	}
	node, err := a.config.Nodes.AddNode(r.Context(), spec, r.by)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, node)
}

func (a *API) removeNode(w http.ResponseWriter, r *request) error {
	force, err := r.flag("force")
	if err != nil {
		return err
	}
	if err := a.config.Nodes.RemoveNode(r.Context(), r.name("name"), force, r.by); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) drainNode(w http.ResponseWriter, r *request) error {
	return a.changeNode(w, r, a.config.Nodes.DrainNode)
}

func (a *API) resumeNode(w http.ResponseWriter, r *request) error {
	return a.changeNode(w, r, a.config.Nodes.ResumeNode)
}

func (a *API) changeNode(w http.ResponseWriter, r *request, change func(ctx context.Context, name, by string) error) error {
	if err := change(r.Context(), r.name("name"), r.by); err != nil {
		return err
	}
	return a.node(w, r)
}
