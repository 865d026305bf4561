//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// callGRPC connects to the edge by TLS, as gRPC clients do, as one of host.
func callGRPC(t *testing.T, s *stand.Stand, host string) testpb.TestServiceClient {
	t.Helper()
	target := "passthrough:///" + strings.TrimPrefix(s.Edges[0].TLSURL, "https://")
	connection, err := grpc.NewClient(target, grpc.WithAuthority(host),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, ServerName: host}))) //nolint:gosec // the default certificate is nobody's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return testpb.NewTestServiceClient(connection)
}

// callOnce makes a unary call, whose answer is the request and a trailer.
func callOnce(t *testing.T, client testpb.TestServiceClient) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var trailer metadata.MD
	answer, err := client.UnaryCall(ctx, &testpb.SimpleRequest{Payload: &testpb.Payload{Body: []byte("hello")}}, grpc.Trailer(&trailer))
	if err != nil || string(answer.GetPayload().GetBody()) != "hello" || len(trailer.Get("x-echo-trailer")) != 1 {
		t.Fatalf("unary call: %v, %v, trailer %v", answer, err, trailer)
	}
}

// converse sends and receives messages by turns, so that each answer must come
// before the next message, over one bidirectional stream.
func converse(t *testing.T, client testpb.TestServiceClient) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	stream, err := client.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{5, 50_000, 1} {
		message := strings.Repeat("x", size)
		if err := stream.Send(&testpb.StreamingOutputCallRequest{Payload: &testpb.Payload{Body: []byte(message)}}); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil || string(answer.GetPayload().GetBody()) != message {
			t.Fatalf("stream: %d bytes, %v, want %d", len(answer.GetPayload().GetBody()), err, size)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err == nil || len(stream.Trailer().Get("x-echo-trailer")) != 1 {
		t.Fatalf("the end of the stream: %v, trailer %v", err, stream.Trailer())
	}
}

func TestGRPCWorksAwakeAndThroughAWake(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	for _, name := range []string{"unary", "bidi"} {
		app := s.MockApp(name, name+".test")
		app.Env["PROTOCOL"] = "h2c"
		app.Route.Protocol = "h2c"
		s.Deploy(app)
	}
	unary, bidi := callGRPC(t, s, "unary.test"), callGRPC(t, s, "bidi.test")
	callOnce(t, unary)
	converse(t, bidi)
	sleepAll(t, s, "unary", "bidi")
	callOnce(t, unary)
	converse(t, bidi)
	callOnce(t, unary)
	converse(t, bidi)
}

func TestAServiceOfGRPCAnswersHTTP1Too(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	app := s.MockApp("web", "web.test")
	app.Env["PROTOCOL"] = "h2c"
	app.Route.Protocol = "h2c"
	s.Deploy(app)
	s.Get("web.test", "/").MustBe(200)
	callOnce(t, callGRPC(t, s, "web.test"))
}

func TestGRPCIsToldHonestlyWhatFails(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	app := s.MockApp("slow", "slow.test")
	app.Env["PROTOCOL"], app.Env["READY_DELAY"] = "h2c", "3s"
	app.Route.Protocol = "h2c"
	app.Wake.MaxWait = fleet.Duration(time.Second)
	app.HealthCheck.StartPeriod = fleet.Duration(30 * time.Second) // for the deploy, which is given no less
	s.Deploy(app)
	s.Sleep("slow")
	for host, want := range map[string]codes.Code{"slow.test": codes.Unavailable, "nobody.test": codes.Unimplemented} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := callGRPC(t, s, host).UnaryCall(ctx, &testpb.SimpleRequest{})
		cancel()
		if status.Code(err) != want {
			t.Errorf("%s: got %v, want %s", host, err, want)
		}
	}
}
