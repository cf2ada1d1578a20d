package policy

import _ "embed" // for the schema

//go:embed hallmark.yaml.schema.json
var schema string

// Schema is the JSON Schema (draft 2020-12) of hallmark.yaml, for editors. It
// accepts what Parse accepts and says most of what Parse refuses.
func Schema() []byte { return []byte(schema) }
