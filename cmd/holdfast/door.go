package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast"
)

// admin is one run of an operator's command, and the door it goes through.
type admin struct {
	url  string
	json bool

	direct *installation // nil: over HTTP
	key    string
}

// open chooses the door.
func (a *admin) open(cmd *cobra.Command) error {
	if cmd.HasSubCommands() {
		return nil // it only shows its help
	}
	if a.url != "" {
		a.key = os.Getenv("HOLDFAST_ADMIN_KEY")
		if u, err := url.Parse(a.url); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return holdfast.E(holdfast.CodeInvalidRequest, "--url must be an address such as https://backup.example.com.")
		}
		if a.key == "" {
			return holdfast.E(holdfast.CodeInvalidRequest, "Put an operator key into HOLDFAST_ADMIN_KEY; `holdfast admin operator-key create` makes one.")
		}
		return nil
	}
	cfg, err := loadConfig(cmd.Flags(), os.Environ())
	if err != nil {
		return err
	}
	a.direct, err = openInstallation(cmd.Context(), cfg, false, slog.New(slog.DiscardHandler))
	return err
}

func (a *admin) close() error {
	if a.direct == nil {
		return nil
	}
	return a.direct.close()
}

// call runs one of control's commands and decodes what it answers.
func call[O any](ctx context.Context, a *admin, name string, input any) (O, error) {
	var out O
	b, err := json.Marshal(input)
	if err != nil {
		return out, err
	}
	if a.direct != nil {
		answer, err := a.direct.control.Commands()[name].Run(ctx, b)
		if err != nil {
			return out, err
		}
		typed, ok := answer.(O)
		if !ok {
			return out, fmt.Errorf("%s answered a %T", name, answer)
		}
		return typed, nil
	}
	answer, err := a.post(ctx, name, b)
	if err != nil {
		return out, err
	}
	return out, json.Unmarshal(answer, &out)
}

// doorClient follows no redirect: the key is for the service that was named.
var doorClient = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 20

// post calls a command over HTTP.
func (a *admin) post(ctx context.Context, name string, input []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(a.url, "/")+"/admin/v1/"+name, bytes.NewReader(input))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+a.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := doorClient.Do(req) // #nosec G107 G704 -- the operator names the service
	if err != nil {
		return nil, holdfast.Wrap(holdfast.CodeUpstreamUnavailable, "admin", "The service does not answer.", err)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return nil, problem(resp.StatusCode, answer)
	}
	return answer, nil
}

// problem makes an error of a problem document.
func problem(status int, answer []byte) error {
	var p struct {
		Code   holdfast.Code    `json:"code"`
		Detail string           `json:"detail"`
		Errors []holdfast.Field `json:"errors"`
	}
	if err := json.Unmarshal(answer, &p); err != nil || p.Code == "" {
		// It is something else that answers: a proxy, or no Holdfast at all.
		return holdfast.E(holdfast.CodeUpstreamUnavailable, fmt.Sprintf("What answers at --url is no Holdfast, or not able to: status %d.", status))
	}
	return &holdfast.Error{Code: p.Code, Msg: p.Detail, Fields: p.Errors}
}
