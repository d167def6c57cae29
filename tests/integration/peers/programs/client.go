package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
)

func main() {
	answer, err := http.Get(os.Args[1])
	check(err)
	tell("fetched", answer.Body)
	answer.Body.Close()

	connection, err := net.Dial("tcp", "127.0.0.1:"+os.Args[2])
	check(err)
	go func() {
		// io.Copy: what splices where it can.
		_, err := io.Copy(connection, strings.NewReader(strings.Repeat("x", 1_000_000)))
		check(err)
		check(connection.(*net.TCPConn).CloseWrite())
	}()
	tell("echoed", connection)
	check(connection.Close())
}

func tell(word string, in io.Reader) {
	hash := sha256.New()
	_, err := io.Copy(hash, in)
	check(err)
	fmt.Printf("%s %x\n", word, hash.Sum(nil))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
