// gRPC by Go's grpc, in clear or inside crypto/tls, as h2_grpc.py speaks it;
// messages are bytes.
//
//	grpc_go serve [CERT KEY]            prints its port
//	grpc_go call [--cafile CA] ADDRESS  calls each kind of method once
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "grpc_go:", err)
		os.Exit(1)
	}
}

// Messages as they are.
type raw struct{}

func (raw) Name() string                  { return "proto" }
func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = bytes.Clone(data)
	return nil
}

// Every kind of method is one of streams on the wire.
func answer(_ any, stream grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(stream)
	method := path.Base(name)
	all := []byte{}
	for {
		message := []byte{}
		err := stream.RecvMsg(&message)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if method == "Both" {
			if err := stream.SendMsg(&message); err != nil {
				return err
			}
		}
		all = append(all, message...)
	}
	switch method {
	case "Both":
		return nil
	case "Unary", "Up":
		return stream.SendMsg(&all)
	case "Down":
		for _, size := range all {
			message := bytes.Repeat([]byte("d"), int(size))
			if err := stream.SendMsg(&message); err != nil {
				return err
			}
		}
		return nil
	}
	return status.Error(codes.NotFound, "not here: 50% é")
}

func serve(files []string) {
	options := []grpc.ServerOption{
		grpc.ForceServerCodec(raw{}),
		grpc.UnknownServiceHandler(answer),
	}
	if len(files) == 2 {
		tls, err := credentials.NewServerTLSFromFile(files[0], files[1])
		check(err)
		options = append(options, grpc.Creds(tls))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	check(grpc.NewServer(options...).Serve(listener))
}

// Sends all messages and gives all that comes back.
func streams(to *grpc.ClientConn, method string, messages [][]byte) ([][]byte, error) {
	kind := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := to.NewStream(context.Background(), kind, "/httpsniff.Test/"+method)
	check(err)
	for _, message := range messages {
		check(stream.SendMsg(&message))
	}
	check(stream.CloseSend())
	got := [][]byte{}
	for {
		message := []byte{}
		err := stream.RecvMsg(&message)
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got = append(got, message)
	}
}

func equal(method string, is, should [][]byte) {
	if len(is) != len(should) {
		check(fmt.Errorf("%s: %d messages, not %d", method, len(is), len(should)))
	}
	for number := range is {
		if !bytes.Equal(is[number], should[number]) {
			check(fmt.Errorf("%s: message %d is another", method, number))
		}
	}
}

func call(arguments []string) {
	creds := insecure.NewCredentials()
	if len(arguments) == 3 {
		var err error
		creds, err = credentials.NewClientTLSFromFile(arguments[1], "")
		check(err)
	}
	to, err := grpc.NewClient(
		"passthrough:///"+arguments[len(arguments)-1],
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})),
		grpc.WithNoProxy(),
	)
	check(err)
	large, got := bytes.Repeat([]byte("u"), 100_000), []byte{}
	check(to.Invoke(context.Background(), "/httpsniff.Test/Unary", &large, &got))
	equal("Unary", [][]byte{got}, [][]byte{large})

	parts, err := streams(to, "Down", [][]byte{{0, 1, 200}})
	check(err)
	equal("Down", parts, [][]byte{{}, []byte("d"), bytes.Repeat([]byte("d"), 200)})

	messages := [][]byte{bytes.Repeat([]byte("a"), 10), bytes.Repeat([]byte("b"), 20_000), {}}
	parts, err = streams(to, "Up", messages)
	check(err)
	equal("Up", parts, [][]byte{bytes.Join(messages, nil)})

	parts, err = streams(to, "Both", messages)
	check(err)
	equal("Both", parts, messages)

	message := []byte("x")
	err = to.Invoke(context.Background(), "/httpsniff.Test/Fail", &message, &got)
	if status.Code(err) != codes.NotFound || status.Convert(err).Message() != "not here: 50% é" {
		check(fmt.Errorf("Fail: %w", err))
	}
	check(to.Close())
}

func main() {
	if os.Args[1] == "serve" {
		serve(os.Args[2:])
	}
	call(os.Args[2:])
}
