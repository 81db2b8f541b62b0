// SPDX-License-Identifier: Apache-2.0

// containerd's own test suite for snapshotters, against coffer-snapshotter over its socket.
// Run by tests/conform/snapshotter_suite.sh.
package suite

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/snapshots"
	"github.com/containerd/containerd/snapshots/proxy"
	"github.com/containerd/containerd/snapshots/testsuite"
	"google.golang.org/grpc"
)

func start(ctx context.Context, root string) (snapshots.Snapshotter, func() error, error) {
	sock := filepath.Join(root, "s.sock")
	cmd := exec.Command(os.Getenv("COFFER_SNAPSHOTTER"), "--fs-driver", os.Getenv("COFFER_DRIVER"),
		"--state-dir", filepath.Join(root, "r"), "--listen", sock, "--log-level", "error")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	// The socket's file is there a moment before anybody listens on it.
	for i := 0; i < 2000; i++ {
		if c, err := net.Dial("unix", sock); err == nil {
			c.Close()
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	conn, err := grpc.Dial("unix://"+sock, grpc.WithInsecure())
	if err != nil {
		return nil, nil, err
	}
	stop := func() error {
		conn.Close()
		cmd.Process.Signal(syscall.SIGTERM)
		return cmd.Wait()
	}
	return proxy.NewSnapshotter(api.NewSnapshotsClient(conn), "overlayfs"), stop, nil
}

func TestSnapshotter(t *testing.T) {
	testsuite.SnapshotterSuite(t, "overlayfs", start)
}
