package api

import (
	"net/http"

	"holdfast"
)

const adminPath = "/admin/v1/{command}"

// registerAdmin opens the operator's door: every command by its name. It is not
// part of the public document.
func (s *server) registerAdmin() {
	commands := s.control.Commands()
	s.handle(http.MethodPost, adminPath, operators, func(x *exchange) {
		cmd, ok := commands[x.request.PathValue("command")]
		if !ok {
			x.fail(holdfast.E(holdfast.CodeNotFound, "There is no such command."))
			return
		}
		// Some of these answers hold a secret, which must not be kept; so a
		// promise of repeating them is refused rather than broken.
		if len(x.request.Header.Values("Idempotency-Key")) > 0 {
			x.fail(holdfast.E(holdfast.CodeInvalidRequest, "The operator's commands take no Idempotency-Key."))
			return
		}
		body, err := x.body()
		if err != nil {
			x.fail(err)
			return
		}
		out, err := cmd.Run(x.request.Context(), body)
		if err != nil {
			x.fail(err)
			return
		}
		x.send(http.StatusOK, jsonType, out)
	})
}
