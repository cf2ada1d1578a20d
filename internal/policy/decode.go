package policy

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// decoder moves a YAML document into a struct, by the struct's yaml tags. It
// is stricter than the library's own: every key must be known, a value is
// never converted from another type, and a key without a value is an error.
// It goes on after a problem, to report all of them, and remembers where each
// key stands, for the checks that follow.
type decoder struct {
	places   map[string]place
	problems []Problem
	// fatal says that the document could not be read so far that checking
	// its values would tell anything.
	fatal bool
}

func (d *decoder) document(text string, v reflect.Value) {
	body, problem := parseYAML(text)
	switch {
	case problem != nil:
		d.problems, d.fatal = append(d.problems, *problem), true
	case body == nil:
		d.stop(place{}, "the file is empty")
	default:
		d.places[""] = place{1, 1}
		d.value(body, v, "")
	}
}

// stop reports a problem that ends the reading.
func (d *decoder) stop(where place, message string) {
	d.problems, d.fatal = append(d.problems, Problem{Line: where.line, Column: where.column, Message: message}), true
}

// wrong reports a value that cannot be read. Checks would only repeat it.
func (d *decoder) wrong(node ast.Node, path, format string, args ...any) {
	where := placeOf(node.GetToken())
	d.problems = append(d.problems, Problem{Line: where.line, Column: where.column, Key: path, Message: fmt.Sprintf(format, args...)})
	d.fatal = true
}

// problemAt reports a problem of the value at path, or of the nearest key
// above it that the file has.
func (d *decoder) problemAt(path, message string) {
	where, above := place{}, path
	for {
		if at, ok := d.places[above]; ok {
			where = at
			break
		}
		above = above[:max(strings.LastIndexAny(above, ".["), 0)]
	}
	d.problems = append(d.problems, Problem{Line: where.line, Column: where.column, Key: path, Message: message})
}

// given says that the file has the key at path.
func (d *decoder) given(path string) bool {
	_, ok := d.places[path]
	return ok
}

func (d *decoder) value(node ast.Node, v reflect.Value, path string) {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if _, null := node.(*ast.NullNode); null && v.Kind() != reflect.Struct {
		d.wrong(node, path, "has no value; give it one or leave the key out")
		return
	}
	switch t := v.Addr().Interface().(type) {
	case *time.Time:
		d.time(node, t, path)
		return
	case encoding.TextUnmarshaler:
		if text, ok := d.text(node, path); ok {
			if err := t.UnmarshalText([]byte(text)); err != nil {
				d.wrong(node, path, "%v", err)
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(node, v, path)
	case reflect.Slice:
		d.list(node, v, path)
	case reflect.Map:
		d.table(node, v, path)
	case reflect.String:
		if text, ok := d.text(node, path); text != "" {
			v.SetString(text)
		} else if ok {
			d.wrong(node, path, "is empty; give it a value or leave it out")
		}
	default:
		d.scalar(node, v, path)
	}
}

func (d *decoder) scalar(node ast.Node, v reflect.Value, path string) {
	switch n := node.(type) {
	case *ast.BoolNode:
		if v.Kind() == reflect.Bool {
			v.SetBool(n.Value)
			return
		}
	case *ast.IntegerNode:
		if whole, ok := n.Value.(uint64); ok && v.Kind() == reflect.Int {
			v.SetInt(int64(min(whole, math.MaxInt32))) // no number in a policy comes near
			return
		}
	}
	want := "a whole number"
	if v.Kind() == reflect.Bool {
		want = "true or false"
	}
	d.wrong(node, path, "must be %s, not %s", want, kind(node))
}

// text gives the string at node. Numbers and booleans are not text: 1.10 would
// become 1.1, and no would become false.
func (d *decoder) text(node ast.Node, path string) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		d.wrong(node, path, "must be text, not %s; put it in quotes", kind(node))
	default:
		d.wrong(node, path, "must be text, not %s", kind(node))
	}
	return "", false
}

// time reads a point in time, or a day, which stands for its first instant in
// UTC.
func (d *decoder) time(node ast.Node, t *time.Time, path string) {
	text, ok := d.text(node, path)
	if !ok {
		return
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if v, err := time.Parse(layout, text); err == nil && v.UTC().Year() > 0 && v.UTC().Year() <= 9999 {
			*t = v.UTC()
			return
		}
	}
	d.wrong(node, path, "%q is not a day like 2027-01-31 or a time like 2027-01-31T12:00:00Z", text)
}

func (d *decoder) list(node ast.Node, v reflect.Value, path string) {
	seq, ok := node.(*ast.SequenceNode)
	if !ok {
		d.wrong(node, path, "must be a list, not %s", kind(node))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	for i, item := range seq.Values {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.places[at] = placeOf(item.GetToken())
		d.value(item, v.Index(i), at)
	}
}

// table reads names with texts. A text may be empty: a build argument often is.
func (d *decoder) table(node ast.Node, v reflect.Value, path string) {
	v.Set(reflect.MakeMap(v.Type()))
	d.pairs(node, path, func(key string, _, value ast.Node) {
		if text, ok := d.text(value, join(path, key)); ok {
			v.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(text))
		}
	})
}

func (d *decoder) structure(node ast.Node, v reflect.Value, path string) {
	if _, null := node.(*ast.NullNode); null {
		return
	}
	keys := keysOf(v.Type())
	d.pairs(node, path, func(key string, keyNode, value ast.Node) {
		if i := slices.Index(keys, key); i >= 0 && key != "" {
			d.value(value, v.Field(i), join(path, key))
			return
		}
		d.wrong(keyNode, join(path, key), "unknown key%s", suggestion(key, keys))
	})
}

// pairs calls each for the keys of a mapping, in order, except for keys that
// are not text. The parser has refused keys that are there twice.
func (d *decoder) pairs(node ast.Node, path string, each func(key string, keyNode, value ast.Node)) {
	mapping, ok := node.(ast.MapNode)
	if !ok {
		d.wrong(node, path, "must be keys with values, not %s", kind(node))
		return
	}
	for pair := mapping.MapRange(); pair.Next(); {
		word, ok := pair.Key().(*ast.StringNode)
		if !ok {
			d.wrong(pair.Key(), path, "%s cannot be a key here; put it in quotes if it is meant", kind(pair.Key()))
			continue
		}
		at := join(path, word.Value)
		d.places[at] = placeOf(pair.Value().GetToken())
		if _, scalar := pair.Value().(ast.ScalarNode); !scalar {
			d.places[at] = placeOf(word.GetToken())
		}
		each(word.Value, word, pair.Value())
	}
}

// keysOf lists the YAML keys of a struct by field; fields that are not in the
// file have the empty key, which no file can write.
func keysOf(t reflect.Type) []string {
	keys := make([]string, t.NumField())
	for i := range keys {
		if key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); key != "-" {
			keys[i] = key
		}
	}
	return keys
}

// suggestion names the key that was meant: one nearby spelt almost so, or the
// same key in another part of the file.
func suggestion(key string, siblings []string) string {
	if near, ok := nearest(key, siblings); ok {
		return fmt.Sprintf("; did you mean `%s`?", near)
	}
	for _, path := range Keys() {
		if path[strings.LastIndexByte(path, '.')+1:] == key {
			return fmt.Sprintf("; did you mean `%s`?", path)
		}
	}
	known := slices.DeleteFunc(slices.Clone(siblings), func(k string) bool { return k == "" })
	return "; known here are " + strings.Join(known, ", ")
}

// Keys lists the path of every key a policy file can have, in the order of
// the structs. A list's own keys follow "[]", such as gate.exceptions[].id.
func Keys() []string { return appendKeys(nil, reflect.TypeFor[Policy](), "") }

func appendKeys(paths []string, t reflect.Type, under string) []string {
	for i, key := range keysOf(t) {
		if key == "" {
			continue
		}
		path, field := join(under, key), t.Field(i).Type
		paths = append(paths, path)
		for field.Kind() == reflect.Pointer || field.Kind() == reflect.Slice {
			if field.Kind() == reflect.Slice {
				path += "[]"
			}
			field = field.Elem()
		}
		if field.Kind() == reflect.Struct && field != reflect.TypeFor[time.Time]() {
			paths = appendKeys(paths, field, path)
		}
	}
	return paths
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func kind(node ast.Node) string {
	switch node.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.NullNode:
		return "nothing"
	case *ast.SequenceNode:
		return "a list"
	case ast.MapNode:
		return "keys with values"
	default:
		return "this"
	}
}
