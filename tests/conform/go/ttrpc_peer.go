// SPDX-License-Identifier: Apache-2.0

// containerd's own ttrpc, both ends, for tests/conform/proto/ttrpc_go_test.c:
//
//	ttrpc_peer serve SOCKET    serves test.Go: Echo, Fails, Slow
//	ttrpc_peer call SOCKET     calls test.Service: Echo, Fails, Nothing, Slow; exits 0 when all is right
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func check(ok bool, format string, args ...interface{}) {
	if !ok {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
		os.Exit(1)
	}
}

func echo(ctx context.Context, unmarshal func(interface{}) error) (interface{}, error) {
	var m types.Mount
	if err := unmarshal(&m); err != nil {
		return nil, err
	}
	if md, ok := ttrpc.GetMetadata(ctx); ok {
		if v, ok := md.Get("x-test"); ok {
			m.Target = strings.Join(v, ",")
		}
	}
	return &m, nil
}

func fails(ctx context.Context, unmarshal func(interface{}) error) (interface{}, error) {
	return nil, status.Errorf(codes.NotFound, "no such thing")
}

func slow(ctx context.Context, unmarshal func(interface{}) error) (interface{}, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func serve(sock string) {
	s, err := ttrpc.NewServer()
	check(err == nil, "server: %v", err)
	s.Register("test.Go", map[string]ttrpc.Method{"Echo": echo, "Fails": fails, "Slow": slow})
	l, err := net.Listen("unix", sock)
	check(err == nil, "listen: %v", err)
	s.Serve(context.Background(), l)
}

func call(sock string) {
	conn, err := net.Dial("unix", sock)
	check(err == nil, "dial: %v", err)
	c := ttrpc.NewClient(conn)
	ctx := ttrpc.WithMetadata(context.Background(), ttrpc.MD{"x-test": []string{"value"}})
	big := strings.Repeat("x", 3<<20)
	for _, source := range []string{"", "a", big} {
		var res types.Mount
		err := c.Call(ctx, "test.Service", "Echo", &types.Mount{Source: source, Options: []string{"o1", "o2"}}, &res)
		check(err == nil, "Echo: %v", err)
		check(res.Source == source && len(res.Options) == 2 && res.Target == "value", "Echo: other answer")
	}
	var res types.Mount
	err = c.Call(ctx, "test.Service", "Fails", &types.Mount{}, &res)
	check(status.Code(err) == codes.NotFound && strings.Contains(err.Error(), "bread"), "Fails: %v", err)
	err = c.Call(ctx, "test.Service", "Nothing", &types.Mount{}, &res)
	check(status.Code(err) == codes.Unimplemented, "Nothing: %v", err)
	err = c.Call(ctx, "other.Service", "Echo", &types.Mount{}, &res)
	check(status.Code(err) == codes.Unimplemented, "other: %v", err)
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	err = c.Call(short, "test.Service", "Slow", &types.Mount{}, &res)
	check(err != nil, "Slow was answered")
	done := make(chan error, 64)
	for i := 0; i < 64; i++ {
		go func(i int) {
			var res types.Mount
			source := fmt.Sprint(i)
			err := c.Call(ctx, "test.Service", "Echo", &types.Mount{Source: source}, &res)
			if err == nil && res.Source != source {
				err = fmt.Errorf("crossed answers")
			}
			done <- err
		}(i)
	}
	for i := 0; i < 64; i++ {
		err := <-done
		check(err == nil, "64 at once: %v", err)
	}
}

func main() {
	if os.Args[1] == "serve" {
		serve(os.Args[2])
	} else {
		call(os.Args[2])
	}
}
