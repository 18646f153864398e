package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Journals of processes, and whether what they say can be true. A call is "FROM TO what value detail", with "-" for TO if its
// process was killed before, and a look at a lock "AT held LEFT value".
var cases = []struct {
	title    string
	journals []string
	isTrue   bool
}{
	{"one after the other", []string{"0 1 lock v mutex; 2 3 unlock v done", "3 5 lock w mutex; 6 7 unlock w done"}, true},
	{"two at once", []string{"0 1 lock v mutex; 8 9 unlock v done", "3 5 lock w mutex; 6 7 unlock w done"}, false},
	{"the second while the first is released", []string{"0 1 lock v mutex; 2 6 unlock v done", "3 5 lock w mutex; 8 9 unlock w done"}, true},
	{"one that has expired is taken", []string{"0 1 lock v mutex; 2 held 1000 v", "1003 1005 lock w mutex"}, true},
	{"one that has not expired is taken", []string{"0 1 lock v mutex; 2 held 1000 v", "990 995 lock w mutex"}, false},
	{"a killed process's is taken too early", []string{"0 1 lock v mutex; 2 held 1000 v; 500 held 900 v", "1100 1200 lock w mutex"}, false},
	{"one whose release was not answered is taken", []string{"0 1 lock v mutex; 2 held 1000 v; 3 400 unlock v failed", "9 10 lock w mutex"}, true},
	{"one is released that another has taken", []string{"0 1 lock v mutex; 3000 3001 unlock v done", "1500 1501 lock w mutex"}, false},
	{"one is extended that another has taken", []string{"0 1 lock v mutex; 2 held 1000 v; 1600 1601 extend v done", "1500 1501 lock w mutex"}, false},
	{"one is extended", []string{"0 1 lock v mutex; 2 held 1000 v; 900 901 extend v done; 902 held 1000 v", "2000 2001 lock w mutex"}, true},
	{"released twice", []string{"0 1 lock v mutex; 2 3 unlock v done; 4 5 unlock v done"}, false},
	{"readers", []string{"0 1 lock v read; 8 9 unlock v done", "2 3 lock w read; 4 5 unlock w done"}, true},
	{"a writer beside a reader", []string{"0 1 lock v read; 8 9 unlock v done", "2 3 lock w write; 4 5 unlock w done"}, false},
	{"a reader beside a mutex", []string{"0 1 lock v mutex; 8 9 unlock v done", "2 3 lock w read; 4 5 unlock w done"}, false},
	{"a writer who reads on", []string{"0 1 lock v write; 2 3 downgrade v done; 8 9 unlock v done", "4 5 lock w read; 6 7 unlock w done"}, true},
	{"a writer who may read on", []string{"0 1 lock v write; 2 3 downgrade v failed; 8 9 unlock v done", "4 5 lock w read; 6 7 unlock w done"}, true},
	{"a writer who may read on when his process is killed", []string{"0 1 lock v write; 2 held 1000 v; 3 - downgrade v done", "4 5 lock w read; 6 7 unlock w done"}, true},
	{"a writer beside one who may read on when his process is killed", []string{"0 1 lock v write; 2 held 1000 v; 3 - downgrade v done", "4 5 lock w write; 6 7 unlock w done"}, false},
	{"one that may be released when its process is killed", []string{"0 1 lock v mutex; 2 held 1000 v; 3 - unlock v done", "4 5 lock w mutex; 6 7 unlock w done"}, true},
	{"one is extended that nobody was sure of any more", []string{"0 1 lock v mutex; 2 held 1000 v; 1010 1020 extend v done"}, true},
	{"a reader before the writer reads on", []string{"0 1 lock v write; 6 7 downgrade v done; 8 9 unlock v done", "4 5 lock w read; 8 9 unlock w done"}, false},
	{"as many permits as there are", []string{"0 1 lock v permit:2; 8 9 unlock v done", "2 3 lock w permit:2; 4 5 unlock w done"}, true},
	{"one permit too many", []string{"0 1 lock u permit:2; 8 9 unlock u done", "0 1 lock v permit:2; 8 9 unlock v done", "2 3 lock w permit:2; 4 5 unlock w done"}, false},
}

func TestWhatCanBeTrueAndWhatCannot(t *testing.T) {
	for _, each := range cases {
		directory := t.TempDir()
		for number, journal := range each.journals {
			file := filepath.Join(directory, fmt.Sprint(number))
			if err := os.WriteFile(file, []byte(write(journal)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := run(directory); (err == nil) != each.isTrue {
			t.Errorf("%s: %v", each.title, err)
		}
	}
}

// As journal.js writes it; the last line is cut off.
func write(journal string) string {
	var lines strings.Builder
	for number, line := range strings.Split(journal, "; ") {
		fields := strings.Fields(line)
		if fields[1] == "held" {
			fmt.Fprintf(&lines, "%s held %s name %s\n", fields[0], fields[3], fields[2])
			continue
		}
		from, to, what, value, detail := fields[0], fields[1], fields[2], fields[3], fields[4]
		asked := value
		if what == "lock" {
			asked = "-"
		}
		fmt.Fprintf(&lines, "%s began %d name 0 %s %s done\n", from, number, what, asked)
		if to != "-" {
			fmt.Fprintf(&lines, "%s ended %d name 0 %s %s %s\n", to, number, what, value, detail)
		}
	}
	return lines.String() + "12345.6 hel"
}
