package advisory

import "fmt"

// Code says what is wrong with a database, for callers that branch.
type Code string

// The ways in which a database cannot be used.
const (
	// Missing: there is no database at the place.
	Missing Code = "missing"
	// Corrupt: what is there is not a whole SQLite database or archive, or
	// not the one its checksum tells.
	Corrupt Code = "corrupt"
	// OtherSchema: a database whose schema is not grype's version 6.
	OtherSchema Code = "other-schema"
	// Empty: a database of the right schema without one advisory.
	Empty Code = "empty"
	// Unsigned: the policy names a signer and there is no signature.
	Unsigned Code = "unsigned"
	// BadSignature: there is a signature, and it is not the signer's.
	BadSignature Code = "bad-signature"
	// Unreachable: the place did not answer, or not with a database.
	Unreachable Code = "unreachable"
)

// Error is why there is no database. Path never holds credentials.
type Error struct {
	Code Code
	Path string
	Err  error
}

var sentences = map[Code]string{
	Missing:      "no vulnerability database at %s",
	Corrupt:      "vulnerability database at %s is corrupt",
	OtherSchema:  "vulnerability database at %s has another schema",
	Empty:        "vulnerability database from %s is empty",
	Unsigned:     "vulnerability database at %s is not signed",
	BadSignature: "vulnerability database at %s is not signed by the signer the policy names",
	Unreachable:  "vulnerability database at %s is out of reach",
}

func (e *Error) Error() string {
	s := fmt.Sprintf(sentences[e.Code], e.Path)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }
