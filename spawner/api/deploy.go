package api

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"

	"edgespawner/fleet"
)

// deployOptions are the parameters of a deploy.
type deployOptions struct {
	wait                 time.Duration
	dryRun, merge, force bool
}

func readDeployOptions(r *request) (o deployOptions, err error) {
	if o.wait, err = r.wait(); err != nil {
		return o, err
	}
	for name, value := range map[string]*bool{"dry_run": &o.dryRun, "merge": &o.merge, "force": &o.force} {
		if *value, err = r.flag(name); err != nil {
			return o, err
		}
	}
	return o, nil
}

// deploy takes a spec: 202 and the job, or with dry_run the plan.
func (a *API) deploy(w http.ResponseWriter, r *request) error {
	o, err := readDeployOptions(r)
	if err != nil {
		return err
	}
	body, err := r.json(w)
	if err != nil {
		return err
	}
	spec, err := a.decodeSpec(r.Context(), body, o.merge)
	if err != nil {
		return err
	}
	if o.dryRun {
		plan, err := a.config.Deployer.Plan(r.Context(), spec, o.force)
		if err != nil {
			return err
		}
		plan.Steps = list(plan.Steps)
		return writeJSON(w, http.StatusOK, plan)
	}
	accepted, err := a.config.Deployer.Deploy(r.Context(), spec, r.by, o.force)
	if err != nil {
		return err
	}
	return a.finish(w, r, accepted, o.wait)
}

// decodeSpec reads a deploy body, over the service's present spec when it is to
// be merged; secrets that read "redacted" become the stored ones.
func (a *API) decodeSpec(ctx context.Context, body []byte, merge bool) (fleet.Spec, error) {
	base := fleet.DefaultSpec()
	if merge {
		stored, err := a.storedSpec(ctx, nameIn(body))
		if err != nil {
			return fleet.Spec{}, err
		}
		if stored.Name != "" {
			base = stored
		}
	}
	spec, err := fleet.DecodeSpecOver(base, bytes.NewReader(body))
	if err != nil {
		return fleet.Spec{}, err
	}
	return a.restoreSecrets(ctx, spec)
}

// storedSpec returns the newest accepted spec of a service; the zero one when there is none.
func (a *API) storedSpec(ctx context.Context, name string) (fleet.Spec, error) {
	if name == "" {
		return fleet.Spec{}, nil
	}
	stored, err := a.config.Deployer.Spec(ctx, name)
	if fleet.KindOf(err) == fleet.NotFound {
		return fleet.Spec{}, nil
	}
	return stored, err
}

// nameIn is the name in a body that is not decoded yet; empty when there is none.
func nameIn(body []byte) string {
	var named struct {
		Name string `json:"name"`
	}
	_ = json.Unmarshal(body, &named) // what is wrong with it, the strict decoder says
	return named.Name
}

// restoreSecrets puts the stored values where a spec that was read from the API came back redacted.
func (a *API) restoreSecrets(ctx context.Context, spec fleet.Spec) (fleet.Spec, error) {
	if !anyRedacted(spec.Env) && !anyRedacted(headersOf(spec)) {
		return spec, nil
	}
	stored, err := a.storedSpec(ctx, spec.Name)
	if err != nil {
		return fleet.Spec{}, err
	}
	if spec.Env, err = restored("env.", spec.Env, stored.Env); err != nil {
		return fleet.Spec{}, err
	}
	if anyRedacted(headersOf(spec)) {
		check := *spec.HealthCheck
		if check.Headers, err = restored("health_check.headers.", check.Headers, headersOf(stored)); err != nil {
			return fleet.Spec{}, err
		}
		spec.HealthCheck = &check
	}
	return spec, nil
}

func headersOf(spec fleet.Spec) map[string]fleet.Secret {
	if spec.HealthCheck == nil {
		return nil
	}
	return spec.HealthCheck.Headers
}

func anyRedacted(secrets map[string]fleet.Secret) bool {
	for _, value := range secrets {
		if value.Reveal() == fleet.Redacted {
			return true
		}
	}
	return false
}

// restored returns secrets with the stored values of those that read "redacted".
// The error names the field, prefix and key, of one that is not stored.
func restored(prefix string, secrets, stored map[string]fleet.Secret) (map[string]fleet.Secret, error) {
	whole := maps.Clone(secrets)
	for _, key := range slices.Sorted(maps.Keys(secrets)) {
		if secrets[key].Reveal() != fleet.Redacted {
			continue
		}
		value, known := stored[key]
		if !known {
			return nil, fleet.InvalidField(prefix+key, "%q stands for a stored value, and none is stored", fleet.Redacted)
		}
		whole[key] = value
	}
	return whole, nil
}
