// SPDX-License-Identifier: Apache-2.0

// Patterns and texts at random, and what Go's regexp finds: "HEX. HEX. ANSWER" a line. The answer is
// "bad", "no", or the spans of match and groups.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"math/rand"
	"os"
	"regexp"
	"strconv"
	"strings"
)

var atoms = []string{"a", "b", "c", "x", ".", `\d`, `\w`, `\s`, "[ab]", "[^a]", "[a-c]", "^", "$",
	`\b`, `\B`, `\A`, `\z`, "é", "ß", "k", "K", "[[:alpha:]]", `\pL`, `\p{Greek}`, "σ", "(?i)",
	"(?s)", "(?m)", "(?U)", `\Qa.b\E`, `\Qab\E`, `[^\n]`, `\PL`, "\uFFFD", "1", "\n", `[\w-]`,
	`[^\d]`, "(?i:k)", "(?i:ß)", "(?-i)", " "}
var repetitions = []string{"*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0}", "{0,}", "{2,3}?",
	"{1,}", "{0,1}?"}
var groups = []string{"(", "(?:", "(?i:", "(?s:", "(?P<n%d>"}
var letters = []string{"a", "b", "c", "x", "é", "K", "k", "\u212a", "ß", "ẞ", "σ", "ς", "Σ", "1", " ",
	"\n", "\xff", "\xc3", "a.b", "-", "_", "ab"}

func pattern(r *rand.Rand, depth int) string {
	var b strings.Builder
	for i := r.Intn(4); i >= 0; i-- {
		s := atoms[r.Intn(len(atoms))]
		if depth > 0 && r.Intn(3) == 0 {
			open := groups[r.Intn(len(groups))]
			if strings.Contains(open, "%") {
				open = fmt.Sprintf(open, r.Int())
			}
			s = open + pattern(r, depth-1) + ")"
		}
		if r.Intn(3) == 0 {
			s += repetitions[r.Intn(len(repetitions))]
		}
		b.WriteString(s)
		if depth > 0 && r.Intn(6) == 0 {
			b.WriteString("|")
		}
	}
	s := b.String()
	// One byte less breaks some; names of classes differ between versions of Go, so not those.
	if r.Intn(40) == 0 && !strings.Contains(strings.ToLower(s), `\p`) {
		i := r.Intn(len(s))
		s = s[:i] + s[i+1:]
	}
	return s
}

func answer(p, text string) string {
	re, err := regexp.Compile(p)
	if err != nil {
		return "bad"
	}
	m := re.FindStringSubmatchIndex(text)
	if m == nil {
		return "no"
	}
	var b strings.Builder
	for k := 0; k < len(m); k += 2 {
		fmt.Fprintf(&b, "%d-%d,", m[k], m[k+1])
	}
	return b.String()
}

func main() {
	seed, _ := strconv.ParseInt(os.Args[1], 10, 64)
	count, _ := strconv.Atoi(os.Args[2])
	r := rand.New(rand.NewSource(seed))
	w := bufio.NewWriter(os.Stdout)
	defer w.Flush()
	for ; count > 0; count-- {
		p, text := pattern(r, 3), ""
		for j := r.Intn(8); j > 0; j-- {
			text += letters[r.Intn(len(letters))]
		}
		fmt.Fprintf(w, "%s. %s. %s\n", hex.EncodeToString([]byte(p)), hex.EncodeToString([]byte(text)),
			answer(p, text))
	}
}
