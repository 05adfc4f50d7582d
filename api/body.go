package api

import (
	"errors"
	"io"
	"mime"
	"net/http"

	"holdfast"
)

// body reads the request's body: JSON, whether it says so or says nothing.
func (x *exchange) body() ([]byte, error) {
	raw, err := io.ReadAll(x.request.Body)
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, holdfast.E(holdfast.CodeBodyTooLarge, "The request body is larger than 1 MiB.")
	}
	if err != nil {
		return nil, &holdfast.Error{Code: holdfast.CodeInvalidRequest, Msg: "The request body could not be read to its end.", Err: err,
			Fields: []holdfast.Field{{Pointer: "", Detail: "The body ended early.", Code: holdfast.CodeInvalidValue}}}
	}
	if !jsonOrNothing(x.request.Header.Values("Content-Type")) {
		return nil, holdfast.E(holdfast.CodeUnsupportedMediaType, "Send the body as application/json.")
	}
	return raw, nil
}

func jsonOrNothing(types []string) bool {
	if len(types) == 0 || (len(types) == 1 && types[0] == "") {
		return true
	}
	if len(types) > 1 {
		return false
	}
	mediaType, params, err := mime.ParseMediaType(types[0])
	if err != nil || mediaType != jsonType {
		return false
	}
	charset, given := params["charset"]
	return !given || charset == "utf-8" || charset == "UTF-8"
}
