// Asks or serves HTTP/1.1: peer ask HOST:PORT METHOD:PATH[:length|:chunked]..., peer serve PORT LOG.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

var statuses = map[string]int{
	"/ok": 200, "/stream": 200, "/take": 200, "/empty": 204, "/moved": 302, "/same": 304, "/broken": 500,
}

const body = "hello\n"

func main() {
	if os.Args[1] == "serve" {
		serve(os.Args[2], os.Args[3])
	} else {
		ask(os.Args[2], os.Args[3:])
	}
}

func ask(addr string, items []string) {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	sent := strings.Repeat("x", 3000)
	for _, item := range items {
		words := strings.Split(item, ":")
		var content io.Reader
		if len(words) > 2 {
			content = strings.NewReader(sent)
			if words[2] == "chunked" {
				// Of a length that the client does not know.
				content = struct{ io.Reader }{content}
			}
		}
		request, err := http.NewRequest(words[0], "http://"+addr+words[1], content)
		check(err)
		answer, err := client.Do(request)
		check(err)
		_, err = io.Copy(io.Discard, answer.Body)
		check(err)
		answer.Body.Close()
		fmt.Println("status", answer.StatusCode)
	}
}

func serve(port, path string) {
	log, err := os.Create(path)
	check(err)
	handler := func(response http.ResponseWriter, request *http.Request) {
		_, err := io.Copy(io.Discard, request.Body)
		check(err)
		status, known := statuses[request.URL.Path]
		if !known {
			status = 404
		}
		fmt.Fprintln(log, request.Method, status)
		if status == 302 {
			response.Header().Set("Location", "/ok")
		}
		if request.URL.Path == "/stream" {
			response.Header().Set("Trailer", "X-Last")
		}
		response.WriteHeader(status)
		if status == 204 || status == 304 {
			return
		}
		io.WriteString(response, body)
		if request.URL.Path == "/stream" {
			response.(http.Flusher).Flush()
			io.WriteString(response, body)
			response.Header().Set("X-Last", "yes")
		}
	}
	check(http.ListenAndServe("127.0.0.1:"+port, http.HandlerFunc(handler)))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
