// Command redsync-interop locks with go-redsync what its caller says: one JSON object a line on
// stdin, one JSON object a line on stdout, answered as they are done.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-redsync/redsync/v4"
	redsyncredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
)

// A command. Times are milliseconds.
type command struct {
	ID      int    `json:"id"`
	Op      string `json:"op"`
	Name    string `json:"name"`
	Value   string `json:"value"`
	Expiry  int    `json:"expiry"`
	Tries   int    `json:"tries"`
	Counter string `json:"counter"`
	For     int    `json:"for"`
	Workers int    `json:"workers"`
	NoLock  bool   `json:"noLock"`
}

type answer struct {
	ID         int    `json:"id"`
	OK         bool   `json:"ok"`
	Value      string `json:"value,omitempty"`
	Error      string `json:"error,omitempty"`
	Increments int    `json:"increments"`
	Failures   int    `json:"failures"`
}

type program struct {
	redsync *redsync.Redsync
	counter *redis.Client // where the counter is: the first server
}

func (p *program) mutex(c command) *redsync.Mutex {
	options := []redsync.Option{
		redsync.WithRetryDelayFunc(func(int) time.Duration {
			return time.Duration(5+rand.Intn(15)) * time.Millisecond
		}),
	}
	if c.Expiry > 0 {
		options = append(options, redsync.WithExpiry(time.Duration(c.Expiry)*time.Millisecond))
	}
	if c.Tries > 0 {
		options = append(options, redsync.WithTries(c.Tries))
	}
	if c.Value != "" {
		options = append(options, redsync.WithValue(c.Value))
	}
	return p.redsync.NewMutex(c.Name, options...)
}

func (p *program) do(c command) answer {
	mutex := p.mutex(c)
	switch c.Op {
	case "lock":
		err := mutex.Lock()
		return answer{OK: err == nil, Value: mutex.Value(), Error: kind(err)}
	case "unlock":
		ok, err := mutex.Unlock()
		return answer{OK: ok, Error: kind(err)}
	case "extend":
		ok, err := mutex.Extend()
		return answer{OK: ok, Error: kind(err)}
	case "contend":
		return p.contend(c)
	}
	return answer{Error: "unknown op " + c.Op}
}

// kind tells an error by what a caller would test it for.
func kind(err error) string {
	var taken *redsync.ErrTaken
	switch {
	case err == nil:
		return ""
	case errors.As(err, &taken):
		return "taken"
	case errors.Is(err, redsync.ErrLockAlreadyExpired):
		return "expired"
	}
	return err.Error()
}

// contend increments the counter under the lock for as long as it is told, by several workers.
func (p *program) contend(c command) answer {
	var mu sync.Mutex
	var workers sync.WaitGroup
	total := answer{OK: true}
	end := time.Now().Add(time.Duration(c.For) * time.Millisecond)
	for range c.Workers {
		workers.Go(func() {
			for time.Now().Before(end) {
				locked, err := p.increment(c)
				mu.Lock()
				switch {
				case err != nil:
					total.OK, total.Error = false, err.Error()
				case locked:
					total.Increments++
				default:
					total.Failures++
				}
				mu.Unlock()
				time.Sleep(time.Duration(rand.Intn(3000)) * time.Microsecond)
			}
		})
	}
	workers.Wait()
	return total
}

// increment loses updates unless nobody else does the same at the same time.
func (p *program) increment(c command) (locked bool, err error) {
	ctx := context.Background()
	if !c.NoLock {
		mutex := p.mutex(c)
		if mutex.Lock() != nil {
			return false, nil
		}
		defer func() {
			if ok, unlockErr := mutex.Unlock(); !ok {
				err = errors.Join(err, fmt.Errorf("unlock: %w", unlockErr))
			}
		}()
	}
	count, err := p.counter.Get(ctx, c.Counter).Int()
	if err != nil && err != redis.Nil {
		return false, err
	}
	time.Sleep(time.Duration(rand.Intn(1000)) * time.Microsecond)
	return true, p.counter.Set(ctx, c.Counter, strconv.Itoa(count+1), 0).Err()
}

func main() {
	var pools []redsyncredis.Pool
	var clients []*redis.Client
	for _, address := range strings.Split(os.Args[1], ",") {
		client := redis.NewClient(&redis.Options{Addr: address})
		clients = append(clients, client)
		pools = append(pools, goredis.NewPool(client))
	}
	p := &program{redsync: redsync.New(pools...), counter: clients[0]}

	var output sync.Mutex
	encoder := json.NewEncoder(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go func() {
			result := p.do(c)
			result.ID = c.ID
			output.Lock()
			defer output.Unlock()
			_ = encoder.Encode(result)
		}()
	}
}
