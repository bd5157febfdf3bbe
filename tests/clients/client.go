// client URL hello|bytes: Go's http.Client over at most four connections, every answer compared.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

var client = &http.Client{
	Transport: &http.Transport{MaxConnsPerHost: 4, MaxIdleConnsPerHost: 4},
	Timeout:   30 * time.Second,
}

func pattern(size int) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i % 251)
	}
	return data
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

// exchange sends a request, reads the answer to its end and compares it.
func exchange(method, url string, body io.Reader, expected []byte) *http.Response {
	request, err := http.NewRequest(method, url, body)
	if err != nil {
		fail("%s %s: %v", method, url, err)
	}
	// hyper sends trailers to those who ask for them.
	request.Header.Set("TE", "trailers")
	response, err := client.Do(request)
	if err != nil {
		fail("%s %s: %v", method, url, err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		fail("%s %s: %v", method, url, err)
	}
	if response.StatusCode != 200 || !bytes.Equal(got, expected) {
		fail("%s %s: %s with %d bytes", method, url, response.Status, len(got))
	}
	return response
}

// parallel runs eight workers of n rounds each.
func parallel(n int, round func()) {
	var workers sync.WaitGroup
	for w := 0; w < 8; w++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for i := 0; i < n; i++ {
				round()
			}
		}()
	}
	workers.Wait()
}

func main() {
	url, what := strings.TrimSuffix(os.Args[1], "/"), os.Args[2]
	if what == "hello" {
		parallel(25, func() { exchange("GET", url+"/", nil, []byte("hello\n")) })
		return
	}
	data := pattern(50_000)
	// 8 workers, 5 rounds: 40 of each.
	parallel(5, func() {
		exchange("GET", url+"/stream/50000", nil, data)
		// A reader of unknown length goes out in chunks.
		body := io.MultiReader(bytes.NewReader(data[:7]), bytes.NewReader(data[7:]))
		exchange("POST", url+"/echo", body, data)
		response := exchange("GET", url+"/trailers", nil, []byte("with trailers\n"))
		if sum := response.Trailer.Get("X-Sum"); sum != "42" {
			fail("the trailers are %v", response.Trailer)
		}
	})
}
