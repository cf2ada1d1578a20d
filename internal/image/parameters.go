package image

import (
	"encoding/json"
)

// parameters gives the policy's settings for a builder as they stand in the
// file, without those left out.
func parameters(settings any) map[string]any {
	raw, err := json.Marshal(settings)
	if err != nil {
		return nil
	}
	var out map[string]any
	if json.Unmarshal(raw, &out) != nil {
		return nil
	}
	return out
}
