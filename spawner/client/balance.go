package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"edgespawner/fleet"
)

// WhatIf asks what would become of the replicas; nothing is changed.
func (c *Client) WhatIf(ctx context.Context, question fleet.WhatIf) (answer fleet.WhatIfAnswer, err error) {
	body, err := json.Marshal(question)
	if err != nil {
		return answer, fmt.Errorf("cannot ask what would be: %w", err)
	}
	err = c.do(ctx, call{method: http.MethodPost, path: []string{"api", "whatif"}, body: body}, &answer)
	return answer, err
}

// Rebalance plans moves and, unless only the plan is asked for, has them made.
func (c *Client) Rebalance(ctx context.Context, question fleet.Rebalance) (plan fleet.RebalancePlan, err error) {
	body, err := json.Marshal(question)
	if err != nil {
		return plan, fmt.Errorf("cannot ask for a rebalance: %w", err)
	}
	err = c.do(ctx, call{method: http.MethodPost, path: []string{"api", "rebalance"}, body: body}, &plan)
	return plan, err
}
