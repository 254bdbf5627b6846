{{- define "connector.serviceAccountName" -}}
{{ include "connector.fullname" .root }}-{{ .role }}
{{- end -}}
