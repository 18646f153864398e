package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/anishathalye/porcupine"
)

// A line of a journal: see journal.js.
type entry struct {
	at, left                                 float64
	event, number, name, call, value, detail string
}

// A lock as one process saw it, from its acquisition to its end.
type life struct {
	name string
	// When it was known to be acquired.
	told float64
	// Until when it was sure to be held, as far as was seen.
	until float64
	// When it was asked to end for the first time.
	endAsked   float64
	isReleased bool
	// When the last call about it had succeeded.
	answered float64
}

// The histories of all locks, by name.
func readAll(directory string) (map[string][]porcupine.Operation, error) {
	files, err := filepath.Glob(filepath.Join(directory, "*"))
	if err != nil {
		return nil, err
	}
	histories := map[string][]porcupine.Operation{}
	for client, file := range files {
		entries, err := read(file)
		if err != nil {
			return nil, err
		}
		for name, operations := range operationsOf(entries) {
			for _, operation := range operations {
				operation.ClientId = client
				histories[name] = append(histories[name], operation)
			}
		}
	}
	return histories, nil
}

func read(file string) ([]entry, error) {
	opened, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	var entries []entry
	lines := bufio.NewScanner(opened)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), " ")
		if len(fields) < 5 {
			continue // cut off: its process was killed
		}
		at, errAt := strconv.ParseFloat(fields[0], 64)
		left, errLeft := strconv.ParseFloat(fields[4], 64)
		if errAt != nil || errLeft != nil {
			return nil, fmt.Errorf("%s: %q", file, lines.Text())
		}
		one := entry{at: at, event: fields[1], number: fields[2], name: fields[3], left: left}
		if len(fields) >= 8 {
			one.call, one.value, one.detail = fields[5], fields[6], fields[7]
		}
		entries = append(entries, one)
	}
	return entries, lines.Err()
}

// Nanoseconds, as porcupine wants whole numbers.
func nanoseconds(milliseconds float64) int64 {
	return int64(milliseconds * 1e6)
}

// What one process, or a thread of it, did with each lock.
//
// Nobody knows when a lock ended that was not released, or when a writer began to read whose downgrade failed, or was still
// under way when its process was killed. The earliest moment that can be true is assumed: it keeps nobody out whom a later one
// would let in. Thousands of such ends that may each have come at any time in seconds would be too many ways to look through.
func operationsOf(entries []entry) map[string][]porcupine.Operation {
	operations := map[string][]porcupine.Operation{}
	add := func(name string, from, to float64, asked question) {
		operation := porcupine.Operation{Input: asked, Call: nanoseconds(from), Return: nanoseconds(to)}
		operations[name] = append(operations[name], operation)
	}
	began := map[string]float64{}
	lives := map[string]*life{}
	for _, one := range entries {
		value := strings.TrimSuffix(one.number, "/read")
		if one.event == "held" || one.event == "still" {
			if seen := lives[value]; seen != nil {
				seen.until = max(seen.until, one.at+one.left)
			}
		}
		if one.event == "began" {
			began[one.number] = one.at
			if seen := lives[one.value]; seen != nil && one.call == "unlock" && seen.endAsked == 0 {
				seen.endAsked = one.at
			}
			if lives[one.value] != nil && one.call == "downgrade" {
				add(one.name, one.at, one.at, question{what: mayRead, value: one.value})
			}
			// Until it is known to have failed or not; what is killed meanwhile says nothing more.
			continue
		}
		if one.event != "ended" {
			continue
		}
		from, isDone := began[one.number], one.detail != "failed"
		switch {
		case one.call == "lock" && isDone:
			kind, limit := kindOf(one.detail)
			lives[one.value] = &life{name: one.name, told: one.at, answered: one.at}
			add(one.name, from, one.at, question{acquired, one.value, kind, limit})
		case one.call == "extend" && isDone:
			lives[one.value].answered = one.at
			add(one.name, from, one.at, question{what: extended, value: one.value})
		case one.call == "downgrade" && isDone:
			lives[one.value].answered = one.at
			add(one.name, from, one.at, question{what: downgraded, value: one.value})
		case one.call == "unlock" && isDone:
			lives[one.value].isReleased = true
			add(one.name, from, one.at, question{what: released, value: one.value})
		}
	}
	for value, seen := range lives {
		if seen.isReleased {
			continue
		}
		from := max(seen.until, seen.told)
		if seen.endAsked > 0 {
			from = min(from, seen.endAsked)
		}
		add(seen.name, from, max(from, seen.answered), question{what: ended, value: value})
	}
	return operations
}

// A kind is written as it is, and how many permits there are behind it: "mutex", "permit:3".
func kindOf(detail string) (string, int) {
	kind, number, _ := strings.Cut(detail, ":")
	limit, err := strconv.Atoi(number)
	if err != nil {
		limit = 1
	}
	return kind, limit
}
