package main

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
)

// newGRPC returns a server of gRPC's own test service, of which it does the
// unary and the bidirectional echo, and of the health service. Both answer with
// the trailer x-echo-trailer.
func newGRPC() *grpc.Server {
	server := grpc.NewServer()
	testpb.RegisterTestServiceServer(server, echoService{})
	healthpb.RegisterHealthServer(server, health.NewServer())
	return server
}

type echoService struct {
	testpb.UnimplementedTestServiceServer
}

var echoTrailer = metadata.Pairs("x-echo-trailer", "end")

// UnaryCall answers with the payload of the request.
func (echoService) UnaryCall(ctx context.Context, r *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	if err := grpc.SetTrailer(ctx, echoTrailer); err != nil {
		return nil, err
	}
	return &testpb.SimpleResponse{Payload: r.GetPayload()}, nil
}

// FullDuplexCall answers each message with its payload as it comes.
func (echoService) FullDuplexCall(stream testpb.TestService_FullDuplexCallServer) error {
	stream.SetTrailer(echoTrailer)
	for {
		r, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: r.GetPayload()}); err != nil {
			return err
		}
	}
}
