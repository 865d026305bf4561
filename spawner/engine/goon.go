package engine

// leftOver parts what stands beside the replicas that serve: strays of whatever
// was cut off, and what a process before has made for this very job.
func (a *actor) leftOver(job string, print *blueprint) (strays []*replica, made map[int]*replica) {
	made = map[int]*replica{}
	for _, r := range a.reachable(a.extra) {
		if r.job == job && r.index >= 0 && r.print.hash == print.hash && r.print.revision == print.revision && made[r.index] == nil {
			made[r.index] = r
		} else {
			strays = append(strays, r)
		}
	}
	return strays, made
}

// standFor is stand for the plan of a job. By force all replicas are outdated
// but those that this very job has made, before the spawner was restarted.
func (a *actor) standFor(job string, force bool) []standing {
	list := a.stand()
	for i, r := range a.replicas {
		if force && r.job != job {
			list[i].hash = ""
		}
	}
	return list
}

// goOnWith tells the plan which of its replicas a process before has made already.
// One that is not as the plan has it is removed.
func (o *rollout) goOnWith(changes []change, stand []standing) {
	holder := publishers(stand, o.want)
	for i := range changes {
		c := &changes[i]
		r := o.made[c.index]
		if r == nil || c.kind != changeCreate && c.kind != changeReplace {
			continue
		}
		planned := *c
		c.placed(r.node, holder, o.print)
		c.made = c.publish == r.publish && (c.to == "" || c.to == r.node) && (!c.inPlace || o.sharesSandbox(r))
		if !c.made {
			*c = planned
			o.clear([]*replica{r})
		}
	}
}

// sharesSandbox says whether r joined the sandbox of the replica that it is to replace.
func (o *rollout) sharesSandbox(r *replica) bool {
	old, err := o.standing(r.index)
	return err == nil && old != nil && old.look().sandbox.id == r.look().sandbox.id
}
