// The OpenBao server that tests of the Transit provider talk to: OpenBao's own command line, built from the Go module
// proxy by tools.sh. Never part of the product.
package main

import (
	"os"

	"github.com/openbao/openbao/command"
)

func main() {
	os.Exit(command.Run(os.Args[1:]))
}
