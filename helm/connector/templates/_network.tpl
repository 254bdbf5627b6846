{{/* Where a role may go (R22), as far as the values name it. The role "*" stands for all of them together. */}}
{{- define "connector.destinations" -}}
{{- $v := .root.Values -}}
{{- $any := eq .role "*" -}}
{{- $to := list "dns" "temporal" -}}
{{- if ne .role "codecServer" -}}{{- $to = append $to "kubernetesApi" -}}{{- end -}}
{{- if $v.vault.address -}}{{- $to = append $to "vault" -}}{{- end -}}
{{- if and $v.s3.bucket (ne .role "codecServer") -}}{{- $to = append $to "s3" -}}{{- end -}}
{{- if and (or $any (eq .role "execution")) $v.agent.jwt.keysUrl -}}{{- $to = append $to "agentKeys" -}}{{- end -}}
{{- if and (or $any (eq .role "codecServer")) $v.codecServer.enabled -}}{{- $to = append $to "readerKeys" -}}{{- end -}}
{{- if and (or $any (eq .role "registration")) $v.controlPlane.url -}}{{- $to = append $to "controlPlane" -}}{{- end -}}
{{- if and (or $any (eq .role "metrics")) $v.prometheus.url -}}{{- $to = append (append $to "prometheus") "insight" -}}{{- end -}}
{{- join " " $to -}}
{{- end -}}

{{/* Rules for one destination. Takes root and name. */}}
{{- define "connector.egressRule" -}}
{{- $v := .root.Values.networkPolicy -}}
{{- $to := index $v .name -}}
{{- if not (or $to.cidrs $to.selectors) -}}{{- $to = $v.egressGateway -}}{{- end -}}
- to:
    {{- range $cidr := $to.cidrs }}
    - ipBlock:
        cidr: {{ $cidr | quote }}
        {{- /* The resolver of a node may have a link-local address: it is given as one, on one port. */}}
        {{- if ne $.name "dns" }}
        {{- with include "connector.except" (dict "cidr" $cidr "denied" $v.deniedCidrs "what" (printf "networkPolicy.%s" $.name)) }}
        except: {{ . }}
        {{- end }}
        {{- end }}
    {{- end }}
    {{- with $to.selectors }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    {{- range $port := $to.ports }}
    - { port: {{ $port }}, protocol: TCP }
    {{- if eq $.name "dns" }}
    - { port: {{ $port }}, protocol: UDP }
    {{- end }}
    {{- end }}
{{- end -}}

{{/*
The denied ranges that lie inside `cidr`, as a JSON list; nothing where there is none. Fails where `cidr` lies inside a denied one.
IPv4 is calculated. Of IPv6 only what can hold link-local or unique local addresses needs a look: its first group begins with f, or it is ::/0.
*/}}
{{- define "connector.except" -}}
{{- $inside := list -}}
{{- range $denied := .denied -}}
{{- if and (contains ":" $.cidr) (contains ":" $denied) -}}
{{- $bits := splitList "/" $.cidr | last | int -}}
{{- $prefix := splitList "/" $.cidr | first | lower -}}
{{- if eq $.cidr "::/0" -}}
{{- $inside = append $inside $denied -}}
{{- else if and (or (lt $bits 16) (hasPrefix "fe" $prefix) (hasPrefix "fd00:" $prefix)) (or (hasPrefix "f" $prefix) (hasPrefix "::" $prefix)) -}}
{{- fail (printf "\n\n%s: %s may hold addresses of %s, which are denied. Give ::/0, which leaves them out, or a range that is no link-local one." $.what $.cidr $denied) -}}
{{- end -}}
{{- else if not (or (contains ":" $.cidr) (contains ":" $denied)) -}}
{{- $outer := include "connector.ipv4" $.cidr | fromJson -}}
{{- $inner := include "connector.ipv4" $denied | fromJson -}}
{{- $size := max ($outer.size | int64) ($inner.size | int64) -}}
{{- if eq (div ($outer.start | int64) $size) (div ($inner.start | int64) $size) -}}
{{- if lt ($outer.size | int64) ($inner.size | int64) -}}
{{- fail (printf "\n\n%s: %s lies in %s, which is denied." $.what $.cidr $denied) -}}
{{- else if eq ($outer.size | int64) ($inner.size | int64) -}}
{{- fail (printf "\n\n%s: %s is denied." $.what $.cidr) -}}
{{- end -}}
{{- $inside = append $inside $denied -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $inside -}}{{- toJson $inside -}}{{- end -}}
{{- end -}}

{{/* First address and size of an IPv4 range, as JSON. */}}
{{- define "connector.ipv4" -}}
{{- $parts := splitList "/" . -}}
{{- $start := 0 -}}
{{- range splitList "." (first $parts) -}}{{- $start = add (mul $start 256) (int .) -}}{{- end -}}
{{- $size := 1 -}}
{{- range until (sub 32 (last $parts | int) | int) -}}{{- $size = mul $size 2 -}}{{- end -}}
{"start": "{{ $start }}", "size": "{{ $size }}"}
{{- end -}}
