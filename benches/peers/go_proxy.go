// Go's reverse proxy with connections to the upstream kept, and nothing else set.
package main

import (
	"flag"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
)

func main() {
	listen := flag.String("listen", "", "HOST:PORT")
	upstream := flag.String("upstream", "", "http://HOST:PORT")
	flag.Parse()
	target, err := url.Parse(*upstream)
	if err != nil {
		log.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 512
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = transport
	// Clients that go away are not news.
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	log.Fatal(http.ListenAndServe(*listen, proxy))
}
