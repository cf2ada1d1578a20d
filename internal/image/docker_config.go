package image

import (
	"encoding/json"
	"fmt"
	"time"
)

// settleConfig gives an image config the same bytes for the same image: every
// time in it becomes t, and what an engine notes about itself goes. All else
// stays, known to hallmark or not.
func settleConfig(raw []byte, t time.Time) ([]byte, error) {
	var config map[string]json.RawMessage
	if err := parseJSON(raw, &config); err != nil {
		return nil, fmt.Errorf("parsing config: %w", err)
	}
	created, err := json.Marshal(t.UTC().Format(time.RFC3339))
	if err != nil {
		return nil, err
	}
	config["created"] = created
	for _, own := range []string{"container", "container_config", "docker_version", "moby.buildkit.buildinfo.v1", "moby.buildkit.cache.v0"} {
		delete(config, own)
	}
	if raw, ok := config["history"]; ok {
		var history []map[string]json.RawMessage
		if err := json.Unmarshal(raw, &history); err != nil {
			return nil, fmt.Errorf("parsing config: history: %w", err)
		}
		for _, step := range history {
			step["created"] = created
		}
		if config["history"], err = json.Marshal(history); err != nil {
			return nil, err
		}
	}
	return json.Marshal(config)
}
