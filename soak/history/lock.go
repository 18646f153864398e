package main

import (
	"fmt"
	"sort"
	"strings"

	"github.com/anishathalye/porcupine"
)

// What was asked of a lock.
type question struct {
	what  action
	value string
	// As what it was acquired: "mutex", "read", "write", or "permit" of so many.
	kind  string
	limit int
}

type action int

const (
	acquired action = iota
	extended
	released
	downgraded
	// It may have been asked to, or nothing was heard of it: the lock is not held any more, or still as it was.
	ended
	// The same: a writer may read now.
	mayRead
)

// A state: who holds the lock, by value, and as what.
type holders map[string]string

func (all holders) with(value, kind string) holders {
	changed := holders{value: kind}
	for value, kind := range all {
		if _, isOwn := changed[value]; !isOwn {
			changed[value] = kind
		}
	}
	return changed
}

func (all holders) without(value string) holders {
	changed := holders{}
	for other, kind := range all {
		if other != value {
			changed[other] = kind
		}
	}
	return changed
}

func (all holders) String() string {
	each := make([]string, 0, len(all))
	for value, kind := range all {
		each = append(each, value+" "+kind)
	}
	sort.Strings(each)
	return strings.Join(each, ", ")
}

// May another one have it, too?
func (all holders) admit(q question) bool {
	if q.kind == "permit" {
		return len(all) < q.limit
	}
	for _, kind := range all {
		if q.kind != "read" || kind != "read" {
			return false
		}
	}
	return true
}

// The states that the lock can be in after it was asked this; none: it would not have said so.
func (all holders) after(q question) []holders {
	kind, isHeld := all[q.value]
	switch q.what {
	case acquired:
		if !isHeld && all.admit(q) {
			return []holders{all.with(q.value, q.kind)}
		}
	case extended:
		if isHeld {
			return []holders{all}
		}
	case released:
		if isHeld {
			return []holders{all.without(q.value)}
		}
	case downgraded:
		if isHeld && kind != "mutex" {
			return []holders{all.with(q.value, "read")}
		}
	case ended:
		return []holders{all.without(q.value)}
	case mayRead:
		if isHeld && kind == "write" {
			return []holders{all, all.with(q.value, "read")}
		}
		return []holders{all}
	}
	return nil
}

var lock = (&porcupine.NondeterministicModel{
	Init: func() []interface{} { return []interface{}{holders{}} },
	Step: func(state, input, _ interface{}) []interface{} {
		var states []interface{}
		for _, next := range state.(holders).after(input.(question)) {
			states = append(states, next)
		}
		return states
	},
	Equal: func(one, other interface{}) bool {
		return one.(holders).String() == other.(holders).String()
	},
	DescribeOperation: func(input, _ interface{}) string { return fmt.Sprintf("%+v", input) },
	DescribeState:     func(state interface{}) string { return state.(holders).String() },
}).ToModel()
