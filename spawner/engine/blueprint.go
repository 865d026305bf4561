package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"edgespawner/fleet"
)

// blueprint is all that the replicas of one revision are made from. It is never changed.
type blueprint struct {
	spec     *fleet.Spec
	revision int
	image    fleet.Image
	check    fleet.HealthCheck // the one in force: the spec's, the label's, the image's or a dial
	port     int               // that routes lead to; 0 = none
	hash     string            // of all that shapes the containers
}

// specHash returns the hash of what shapes a replica's containers: the spec
// without the number of replicas, env values included, and the image's content.
func specHash(spec *fleet.Spec, imageID string) string {
	shape := *spec
	shape.Replicas = 0
	data, err := json.Marshal(shape)
	if err != nil {
		panic(fmt.Sprintf("a spec cannot be marshalled: %v", err)) // its types all can
	}
	hash := sha256.New()
	hash.Write(withHeaders(data, spec.HealthCheck))
	for _, key := range slices.Sorted(maps.Keys(spec.Env)) {
		fmt.Fprintf(hash, "\x00%s=%s", key, spec.Env[key].Reveal()) // a hash.Hash never returns an error
	}
	fmt.Fprintf(hash, "\x00%s", imageID)
	return hex.EncodeToString(hash.Sum(nil)[:12])
}

// withHeaders returns a spec's JSON with the values of its check's headers, as
// they stood in what was hashed before they were secrets: the hash of a replica
// that is there must not change.
func withHeaders(data []byte, check *fleet.HealthCheck) []byte {
	if check == nil || len(check.Headers) == 0 {
		return data
	}
	redacted, err := json.Marshal(check.Headers)
	plain, plainErr := json.Marshal(fleet.RevealAll(check.Headers))
	if err != nil || plainErr != nil {
		panic(fmt.Sprintf("headers cannot be marshalled: %v, %v", err, plainErr)) // strings can
	}
	const member = `"headers":`
	return bytes.Replace(data, append([]byte(member), redacted...), append([]byte(member), plain...), 1)
}

// startLimit is how long a replica may take from its start until it is ready, when
// a job waits for that: as long as its health check allows, or wake.max_wait.
func (b *blueprint) startLimit() time.Duration {
	check := b.check
	return max(check.StartPeriod.Std()+time.Duration(check.Retries)*(check.Interval+check.Timeout).Std(), b.spec.Wake.MaxWait.Std())
}

// publishes says whether one replica on each node holds host ports.
func (b *blueprint) publishes() bool { return len(publishedPorts(b.spec)) > 0 }

func publishedPorts(spec *fleet.Spec) []fleet.Port {
	var published []fleet.Port
	for _, p := range spec.Ports {
		if p.HostPort != 0 {
			published = append(published, p)
		}
	}
	return published
}

// sandboxConfig describes the sandbox of a replica.
func (e *Engine) sandboxConfig(r *replica, name string, networks []fleet.Attachment, publish bool) fleet.ContainerConfig {
	config := fleet.ContainerConfig{
		Name:     name,
		Image:    e.config.SandboxImage,
		Labels:   r.labels(fleet.RoleSandbox),
		Restart:  "always",
		Hostname: r.containerName(),
		Networks: networks,
	}
	if publish {
		config.Ports = publishedPorts(r.print.spec)
	}
	return config
}

// appConfig describes the app of a replica, joined to its sandbox.
func (e *Engine) appConfig(r *replica, name, sandboxID string) (fleet.ContainerConfig, error) {
	spec := r.print.spec
	described, err := json.Marshal(spec.WithoutCredentials())
	if err != nil {
		return fleet.ContainerConfig{}, fmt.Errorf("cannot write the spec of %s as a label: %w", r.name(), err)
	}
	labels := r.labels(fleet.RoleApp)
	maps.Copy(labels, e.router.Labels(*spec, r.print.port))
	maps.Copy(labels, spec.Labels)
	labels[fleet.LabelSpec] = string(described)
	image := r.print.image.ID
	if image == "" {
		image = spec.Image
	}
	return fleet.ContainerConfig{
		Name: name, Image: image, Labels: labels, Env: spec.Env,
		Entrypoint: spec.Entrypoint, Command: spec.Command,
		User: spec.User, Workdir: spec.Workdir, StopSignal: spec.StopSignal,
		Restart: "no", SandboxID: sandboxID, Volumes: spec.Volumes,
		CPUShares: spec.Resources.CPUShares, MemoryMB: spec.Resources.MemoryMB,
	}, nil
}

func (r *replica) labels(role fleet.Role) map[string]string {
	labels := map[string]string{
		fleet.LabelService:  r.service,
		fleet.LabelIndex:    strconv.Itoa(r.index),
		fleet.LabelRevision: strconv.Itoa(r.print.revision),
		fleet.LabelRole:     string(role),
		fleet.LabelSpecHash: r.print.hash,
	}
	if r.job != "" {
		labels[fleet.LabelJob] = r.job
	}
	return labels
}

// attachments are the networks of a sandbox: on each it is known by the name of
// the service and by its own.
func (r *replica) attachments(networks []fleet.Network, addresses map[string]netip.Addr) []fleet.Attachment {
	list := make([]fleet.Attachment, len(networks))
	for i, network := range networks {
		list[i] = fleet.Attachment{Network: network.Name, Address: addresses[network.Name], Aliases: []string{r.service, r.name()}}
	}
	return list
}

// candidateName returns the n-th name to try for the app of a replica: the
// plain one first, then one that tells the revision. The sandbox has the same with .net.
func (r *replica) candidateName(n int) string {
	plain := r.name()
	if r.print.spec.Direct {
		plain = r.service
	}
	switch n {
	case 0:
		return plain
	case 1:
		return fmt.Sprintf("%s.r%d", plain, r.print.revision)
	}
	return fmt.Sprintf("%s.r%d.%d", plain, r.print.revision, n)
}
