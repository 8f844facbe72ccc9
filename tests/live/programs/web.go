// An HTTP/1.1 server and clients by Go's crypto/tls and net/http:
//
//	web serve DOCROOT CERT KEY [gc]          prints its port; until its stdin ends
//	web get CA URL TARGET...                 keeps answers in files 0, 1, ...
//	web post CA URL DOCROOT NAME...          posts files, keeps answers likewise
//	web storm CA URL WORKERS EACH SIZE [gc]  posts to /echo/WORKER-NUMBER, when
//	                                         there is a line to read
//	web deep CA ADDRESS DEPTHS SIZE [gc]     a goroutine for each depth of stack
//	web crowd CA ADDRESS WRITERS EACH NAME   goroutines write to one connection
//	web idle CA URL TARGET...                a target for each line of its stdin
//	web end CA URL TARGET HOW                ends by an error, a panic, a signal
//
// Every client ends with 1 unless it got what it should. "gc" collects garbage
// all the time, which also shrinks stacks that are in use.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "web:", err)
		os.Exit(1)
	}
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	check(err)
	return value
}

func collectGarbage(arguments []string) {
	if len(arguments) > 0 && arguments[len(arguments)-1] == "gc" {
		go func() {
			for {
				runtime.GC()
			}
		}()
	}
}

// pattern is the same for the same seed, and other for another.
func pattern(size, seed int) []byte {
	content := make([]byte, size)
	state := uint64(seed)*0x9E3779B97F4A7C15 | 1
	for at := range content {
		state ^= state >> 12
		state ^= state << 25
		state ^= state >> 27
		content[at] = byte(state * 0x2545F4914F6CDD1D >> 56)
	}
	return content
}

func serve(docroot, cert, key string) {
	handler := http.NewServeMux()
	handler.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		content, err := os.ReadFile(path.Join(docroot, path.Base(r.URL.Path)))
		if err != nil {
			http.Error(w, "no such file", 404)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		if strings.HasPrefix(r.URL.Path, "/close/") {
			// No length: the body ends with the connection.
			w.Header().Set("Connection", "close")
			w.Header().Set("Transfer-Encoding", "identity")
		} else if !strings.HasPrefix(r.URL.Path, "/chunked/") {
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		}
		w.Write(content)
	})
	handler.HandleFunc("/echo/", func(w http.ResponseWriter, r *http.Request) {
		content, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), 400)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		w.Write(content)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	server := &http.Server{
		Handler: handler,
		// HTTP/1.1 only.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		server.Close()
	}()
	err = server.ServeTLS(listener, cert, key)
	if !errors.Is(err, http.ErrServerClosed) {
		check(err)
	}
}

func configuration(ca string) *tls.Config {
	pem, err := os.ReadFile(ca)
	check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

func client(ca string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:     configuration(ca),
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
		MaxIdleConnsPerHost: 4,
		DisableCompression:  true,
	}}
}

func exchange(client *http.Client, request *http.Request) []byte {
	response, err := client.Do(request)
	check(err)
	content, err := io.ReadAll(response.Body)
	check(err)
	check(response.Body.Close())
	if response.StatusCode != 200 {
		check(errors.New(response.Status))
	}
	return content
}

func get(client *http.Client, url string) []byte {
	request, err := http.NewRequest("GET", url, nil)
	check(err)
	return exchange(client, request)
}

func post(client *http.Client, url string, content []byte) []byte {
	request, err := http.NewRequest("POST", url, bytes.NewReader(content))
	check(err)
	return exchange(client, request)
}

func keep(place int, content []byte) {
	check(os.WriteFile(strconv.Itoa(place), content, 0o644))
}

func storm(ca, url string, workers, each, size int) {
	client := client(ca)
	bufio.NewReader(os.Stdin).ReadString('\n')
	var all sync.WaitGroup
	for worker := 0; worker < workers; worker++ {
		all.Add(1)
		go func(worker int) {
			defer all.Done()
			for turn := 0; turn < each; turn++ {
				content := pattern(size, worker*each+turn)
				got := post(client, fmt.Sprintf("%s/echo/%d-%d", url, worker, turn), content)
				if !bytes.Equal(got, content) {
					check(fmt.Errorf("%d-%d came back as another", worker, turn))
				}
			}
		}(worker)
	}
	all.Wait()
	client.CloseIdleConnections()
}

// deep uses up so much stack, and then reads an answer into it: the stack grows
// on the way, wherever that is, and what is on it moves.
func deep(conn *tls.Conn, depth, size int) uint32 {
	var room [64]byte
	room[depth%64] = byte(depth)
	if depth > 0 {
		return deep(conn, depth-1, size) + uint32(room[(depth+1)%64])
	}
	return answer(conn, size)
}

func answer(conn *tls.Conn, size int) (sum uint32) {
	// Passed to no interface, and so on the stack.
	var buffer [1400]byte
	seen, body := 0, -1
	for body < 0 || seen < body+size {
		n, err := conn.Read(buffer[seen:])
		check(err)
		seen += n
		for at := 4; at <= seen && body < 0; at++ {
			if string(buffer[at-4:at]) == "\r\n\r\n" {
				body = at
			}
		}
	}
	for _, value := range buffer[body:seen] {
		sum = sum*31 + uint32(value)
	}
	return sum
}

func goDeep(ca, address string, depths, size int) {
	config := configuration(ca)
	for depth := 0; depth < depths; depth++ {
		conn, err := tls.Dial("tcp", address, config)
		check(err)
		check(conn.Handshake())
		wrote := make(chan bool)
		// Both are new goroutines, with small stacks.
		go func() {
			check(ask(conn, depth, depth))
			wrote <- true
		}()
		<-wrote
		read := make(chan uint32)
		go func() { read <- deep(conn, depth, size) }()
		fmt.Println(depth, <-read)
		check(conn.Close())
	}
}

func ask(conn *tls.Conn, depth, left int) error {
	var room [64]byte
	room[left%64] = byte(left)
	if left > 0 {
		err := ask(conn, depth, left-1)
		room[0]++
		return err
	}
	_, err := fmt.Fprintf(conn, "GET /size.bin?depth=%d HTTP/1.1\r\nHost: localhost\r\n\r\n", depth)
	return err
}

// crowd has several goroutines write whole requests to one connection at the
// same time, when there is a line to read.
func crowd(ca, address string, writers, each int, name string) {
	conn, err := tls.Dial("tcp", address, configuration(ca))
	check(err)
	bufio.NewReader(os.Stdin).ReadString('\n')
	for writer := 0; writer < writers; writer++ {
		go func(writer int) {
			for turn := 0; turn < each; turn++ {
				request := fmt.Sprintf("GET /%s?%d-%d HTTP/1.1\r\nHost: localhost\r\n\r\n", name, writer, turn)
				_, err := conn.Write([]byte(request))
				check(err)
			}
		}(writer)
	}
	answers := bufio.NewReader(conn)
	for answer := 0; answer < writers*each; answer++ {
		response, err := http.ReadResponse(answers, nil)
		check(err)
		_, err = io.Copy(io.Discard, response.Body)
		check(err)
	}
	check(conn.Close())
}

func end(how string) {
	switch how {
	case "exit":
		os.Exit(7)
	case "panic":
		panic("as it should be")
	case "kill":
		check(syscall.Kill(os.Getpid(), syscall.SIGKILL))
		select {}
	}
}

func main() {
	arguments := os.Args[2:]
	collectGarbage(arguments)
	switch os.Args[1] {
	case "serve":
		serve(arguments[0], arguments[1], arguments[2])
	case "get":
		client := client(arguments[0])
		for place, target := range arguments[2:] {
			keep(place, get(client, arguments[1]+target))
		}
		client.CloseIdleConnections()
	case "post":
		client := client(arguments[0])
		for place, name := range arguments[3:] {
			content, err := os.ReadFile(path.Join(arguments[2], name))
			check(err)
			keep(place, post(client, arguments[1]+"/echo/"+name, content))
		}
		client.CloseIdleConnections()
	case "storm":
		storm(arguments[0], arguments[1], number(arguments[2]), number(arguments[3]), number(arguments[4]))
	case "deep":
		goDeep(arguments[0], arguments[1], number(arguments[2]), number(arguments[3]))
	case "crowd":
		crowd(arguments[0], arguments[1], number(arguments[2]), number(arguments[3]), arguments[4])
	case "idle":
		client := client(arguments[0])
		lines := bufio.NewScanner(os.Stdin)
		for place := 2; lines.Scan() && place < len(arguments); place++ {
			get(client, arguments[1]+arguments[place])
			fmt.Println("got", arguments[place])
		}
	case "end":
		fmt.Println(len(get(client(arguments[0]), arguments[1]+arguments[2])))
		end(arguments[3])
	default:
		check(errors.New("what?"))
	}
}
