// Command contended is one process of `npm run bench:contended` on rueidislock: so many waiters, each of
// which locks one key, holds it, unlocks it and thinks, over and over. What it prints is what
// contended-worker.js prints.
//
//	KEYS KEY WAITERS HOLD THINK DURATION URL
//
// Of so many keys it takes more than half for a lock. One server is one node, so one key says as much as three.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"
	"golang.org/x/sys/unix"
)

// A waiter that nobody has woken by then, after the end, is told so.
const patience = 3 * time.Second

// A turn: the waiter, when it had asked, when it acquired, when it began to release.
type turn [4]int64

type result struct {
	Turns    []turn   `json:"turns"`
	Failures []string `json:"failures"`
}

// Microseconds on the clock that all processes of the machine share.
func now() int64 {
	var time unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &time); err != nil {
		fail(err)
	}
	return time.Nano() / 1000
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func number(index int) int64 {
	number, err := strconv.ParseInt(os.Args[index], 10, 64)
	if err != nil {
		fail(err)
	}
	return number
}

func connect(url string, keys int64) rueidislock.Locker {
	option, err := rueidis.ParseURL(url)
	if err != nil {
		fail(err)
	}
	locker, err := rueidislock.NewLocker(rueidislock.LockerOption{
		ClientOption:   option,
		KeyValidity:    8 * time.Second,
		KeyMajority:    int32(keys+1) / 2,
		NoLoopTracking: keys == 1,
	})
	if err != nil {
		fail(err)
	}
	return locker
}

func main() {
	key := os.Args[2]
	keys, waiters, hold, think, duration := number(1), number(3), number(4), number(5), number(6)
	locker := connect(os.Args[7], keys)
	defer locker.Close()
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		fail(err)
	}

	end := now() + duration*1000
	limit, cancel := context.WithTimeout(context.Background(), time.Duration(duration)*time.Millisecond+patience)
	defer cancel()
	all := result{Turns: []turn{}, Failures: []string{}}
	var mutex sync.Mutex
	var group sync.WaitGroup
	for waiter := range waiters {
		group.Go(func() {
			for now() < end {
				asked := now()
				_, unlock, err := locker.WithContext(limit, key)
				if err != nil {
					mutex.Lock()
					all.Failures = append(all.Failures, err.Error())
					mutex.Unlock()
					continue
				}
				acquired := now()
				time.Sleep(time.Duration(hold) * time.Millisecond)
				released := now()
				unlock()
				mutex.Lock()
				all.Turns = append(all.Turns, turn{waiter, asked, acquired, released})
				mutex.Unlock()
				time.Sleep(time.Duration(think) * time.Millisecond)
			}
		})
	}
	group.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(all); err != nil {
		fail(err)
	}
}
