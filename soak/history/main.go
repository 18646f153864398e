// Command history reads the journals of a soak and tells whether each lock behaved as one lock would that only one
// process at a time can call: whether its history is linearizable (Herlihy and Wing, 1990). The checker is porcupine.
//
//	history DIRECTORY
//
// It ends with 1 and says why if one did not.
package main

import (
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

// The longest time that the history of one lock is looked at.
const patience = 2 * time.Minute

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: history DIRECTORY")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(directory string) error {
	histories, err := readAll(directory)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(histories))
	for name := range histories {
		names = append(names, name)
	}
	sort.Strings(names)
	all := 0
	for _, name := range names {
		history := histories[name]
		all += len(history)
		switch porcupine.CheckOperationsTimeout(lock, history, patience) {
		case porcupine.Ok:
		case porcupine.Illegal:
			return fmt.Errorf("history of %q: %d operations, not linearizable", name, len(history))
		default:
			return fmt.Errorf("history of %q: %d operations, not decided in %v", name, len(history), patience)
		}
	}
	fmt.Printf("the histories of %d names with %d operations are linearizable\n", len(names), all)
	return nil
}
