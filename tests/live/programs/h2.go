// HTTP/2 by Go's net/http, inside TLS or, from Go 1.24 on, in clear:
//
//	h2 serve DOCROOT [CERT KEY]                prints its port
//	h2 get [--cafile CA] URL TARGET...         keeps answers in files 0, 1, ...
//	h2 post [--cafile CA] URL FOLDER TARGET... posts the files of these names,
//	                                           keeps answers likewise
//	h2 lines [--cafile CA] URL                 a request for each line of stdin
//
// All is asked for at once, on one connection. A line is method and target and
// then names and values of fields, between tabs; what was sent and got for it is
// printed as JSON. The server gives files, /echo/ what was sent, with its
// trailers, /headers the fields of the request as JSON, /many/N/SIZE so many
// fields, /gate/PORT/NAME the file when somebody at that port has hung up, and
// /abort the beginning of a body and a reset.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"sync"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "h2:", err)
		os.Exit(1)
	}
}

// inClear makes a server or transport speak HTTP/2 only, in clear. By
// reflection: an older Go does not know how.
func inClear(of any) {
	field := reflect.ValueOf(of).Elem().FieldByName("Protocols")
	if !field.IsValid() {
		check(errors.New("this Go has no HTTP/2 in clear"))
	}
	field.Set(reflect.New(field.Type().Elem()))
	field.MethodByName("SetUnencryptedHTTP2").Call([]reflect.Value{reflect.ValueOf(true)})
}

func pairs(header http.Header) [][2]string {
	list := [][2]string{}
	for name, values := range header {
		for _, value := range values {
			list = append(list, [2]string{strings.ToLower(name), value})
		}
	}
	sort.Slice(list, func(a, b int) bool { return list[a][0] < list[b][0] })
	return list
}

func answer(w http.ResponseWriter, r *http.Request, docroot string) {
	parts := strings.Split(r.URL.Path, "/")
	var content []byte
	var err error
	switch parts[1] {
	case "echo":
		content, err = io.ReadAll(r.Body)
		check(err)
		for name, values := range r.Trailer {
			w.Header()[http.TrailerPrefix+name] = values
		}
	case "gate":
		gate, err := net.Dial("tcp", "127.0.0.1:"+parts[2])
		check(err)
		io.Copy(io.Discard, gate)
		check(gate.Close())
		content, err = os.ReadFile(path.Join(docroot, parts[3]))
		check(err)
	case "abort":
		w.Write(bytes.Repeat([]byte("p"), 1000))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	case "headers":
		content, err = json.Marshal(pairs(r.Header))
		check(err)
	case "many":
		count, err := strconv.Atoi(parts[2])
		check(err)
		size, err := strconv.Atoi(parts[3])
		check(err)
		for number := 0; number < count; number++ {
			letter := string(rune('a' + number%26))
			w.Header().Set(fmt.Sprint("x-", number), strings.Repeat(letter, size))
		}
		content = []byte("many")
	default:
		content, err = os.ReadFile(path.Join(docroot, path.Base(r.URL.Path)))
		check(err)
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Write(content)
}

func serve(docroot string, files []string) {
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, docroot)
	})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	if len(files) == 0 {
		inClear(server)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	if len(files) == 0 {
		check(server.Serve(listener))
	}
	check(server.ServeTLS(listener, files[0], files[1]))
}

func client(ca string) *http.Client {
	transport := &http.Transport{DisableCompression: true}
	if ca == "" {
		inClear(transport)
	} else {
		pem, err := os.ReadFile(ca)
		check(err)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
		transport.ForceAttemptHTTP2 = true
	}
	return &http.Client{Transport: transport}
}

func exchange(client *http.Client, request *http.Request) ([]byte, http.Header) {
	response, err := client.Do(request)
	check(err)
	content, err := io.ReadAll(response.Body)
	check(err)
	check(response.Body.Close())
	if response.StatusCode != 200 || response.ProtoMajor != 2 {
		check(errors.New(response.Proto + " " + response.Status))
	}
	return content, response.Header
}

func ask(client *http.Client, url, folder, target string) []byte {
	if folder == "" {
		request, err := http.NewRequest("GET", url+target, nil)
		check(err)
		content, _ := exchange(client, request)
		return content
	}
	name := path.Base(strings.Split(target, "?")[0])
	content, err := os.ReadFile(path.Join(folder, name))
	check(err)
	request, err := http.NewRequest("POST", url+target, bytes.NewReader(content))
	check(err)
	// Without a body net/http sends no trailers, and waits for ever to.
	if len(content) > 0 {
		request.ContentLength = -1
		request.Trailer = http.Header{"X-Name": {name}}
	}
	got, _ := exchange(client, request)
	return got
}

func lines(client *http.Client, url string) {
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		words := strings.Split(input.Text(), "\t")
		var body io.Reader
		if words[0] == "POST" {
			body = strings.NewReader(words[1])
		}
		request, err := http.NewRequest(words[0], url+words[1], body)
		check(err)
		for at := 2; at < len(words); at += 2 {
			request.Header.Add(words[at], words[at+1])
		}
		sent := [][2]string{}
		trace := &httptrace.ClientTrace{WroteHeaderField: func(name string, values []string) {
			for _, value := range values {
				sent = append(sent, [2]string{name, value})
			}
		}}
		request = request.WithContext(httptrace.WithClientTrace(request.Context(), trace))
		content, header := exchange(client, request)
		line, err := json.Marshal(map[string]any{
			"sent": sent, "status": 200, "fields": pairs(header), "body": string(content),
		})
		check(err)
		fmt.Println(string(line))
	}
}

func main() {
	mode, arguments := os.Args[1], os.Args[2:]
	if mode == "serve" {
		serve(arguments[0], arguments[1:])
	}
	ca := ""
	if arguments[0] == "--cafile" {
		ca, arguments = arguments[1], arguments[2:]
	}
	client, url, targets := client(ca), arguments[0], arguments[1:]
	if mode == "lines" {
		lines(client, url)
		return
	}
	folder := ""
	if mode == "post" {
		folder, targets = targets[0], targets[1:]
	}
	keep := func(number int) {
		content := ask(client, url, folder, targets[number])
		check(os.WriteFile(strconv.Itoa(number), content, 0o644))
	}
	// The first makes the connection for all.
	keep(0)
	var all sync.WaitGroup
	for number := 1; number < len(targets); number++ {
		all.Add(1)
		go func(number int) {
			defer all.Done()
			keep(number)
		}(number)
	}
	all.Wait()
	client.CloseIdleConnections()
}
