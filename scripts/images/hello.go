// The article's workload, Go edition: a runtime with threads, signals and timers, and still one static file.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

func main() {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	kernel := strings.TrimSpace(string(release))
	fmt.Printf("Hello from OS-less container (Go, Linux %s on %s)\n", kernel, runtime.GOARCH)
}
