package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxProblems bounds how many problems one Error lists.
const maxProblems = 20

// Problem is one thing wrong with a policy file.
type Problem struct {
	// Line and Column are where it is, counted from 1; zero when the problem
	// is the whole file's.
	Line, Column int
	// Key is the path of the key, such as gate.exceptions[0].expires; empty
	// when the file could not be read so far.
	Key string
	// Message says what is wrong and, where that is known, what would be
	// right.
	Message string
}

// Error is a policy file that was refused. Problems are in the file's order
// and never empty; at most twenty are kept.
type Error struct {
	File     string
	Problems []Problem
}

// Error writes one line for each problem, in the form file:line:column.
func (e *Error) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
		}
		b.WriteString(": ")
		if p.Key != "" {
			b.WriteString(p.Key + ": ")
		}
		b.WriteString(p.Message)
	}
	return b.String()
}

func newError(file string, problems []Problem) *Error {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if len(problems) > maxProblems {
		problems = problems[:maxProblems]
	}
	return &Error{File: file, Problems: problems}
}

// nearest gives the known word closest to word, if one is close enough to be
// a slip of the hand: within two edits, and no more than half of the word.
func nearest(word string, known []string) (string, bool) {
	best, least := "", min(2, len(word)/2)+1
	for _, k := range known {
		if n := edits(strings.ToLower(word), k); n < least {
			best, least = k, n
		}
	}
	return best, best != ""
}

// edits is the Levenshtein distance of two words, by bytes. Words longer than
// any key are not compared.
func edits(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
