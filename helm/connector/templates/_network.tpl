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

{{/* The port that the values name for a destination; nothing where they name none. Takes root and name. */}}
{{- define "connector.portOf" -}}
{{- $v := .root.Values -}}
{{- $urls := dict "vault" $v.vault.address "s3" $v.s3.endpoint "controlPlane" $v.controlPlane.url "prometheus" $v.prometheus.url "insight" $v.insight.url "agentKeys" $v.agent.jwt.keysUrl "readerKeys" $v.codecServer.jwt.keysUrl -}}
{{- if eq .name "temporal" -}}
{{- splitList ":" $v.temporal.address | last -}}
{{- else -}}
{{- with index $urls .name -}}{{- regexFind ":[0-9]+$" (urlParse .).host | trimPrefix ":" | default "443" -}}{{- end -}}
{{- end -}}
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

{{/* The denied ranges that lie inside `cidr`, as a JSON list; nothing where there is none. Fails where `cidr` lies inside a denied one. */}}
{{- define "connector.except" -}}
{{- $bits := include "connector.bits" .cidr -}}
{{- $inside := list -}}
{{- range $denied := .denied -}}
{{- $deniedBits := include "connector.bits" $denied -}}
{{- if hasPrefix $deniedBits $bits -}}
{{- fail (printf "\n\n%s: %s lies in %s, which is denied." $.what $.cidr $denied) -}}
{{- else if hasPrefix $bits $deniedBits -}}
{{- $inside = append $inside $denied -}}
{{- end -}}
{{- end -}}
{{- if $inside -}}{{- toJson $inside -}}{{- end -}}
{{- end -}}

{{/* What all addresses of a range begin with: 4 or 6, and bits. One range lies in another where it begins with all that the other begins with. */}}
{{- define "connector.bits" -}}
{{- $parts := splitList "/" . -}}
{{- $address := first $parts | lower -}}
{{- $bits := "" -}}
{{- if contains ":" $address -}}
{{- $halves := splitList "::" $address -}}
{{- $before := first $halves | splitList ":" | compact -}}
{{- $after := rest $halves | join ":" | splitList ":" | compact -}}
{{- $zeros := repeat (sub 8 (add (len $before) (len $after)) | max 0 | int) "0" | splitList "" -}}
{{- range concat $before $zeros $after -}}
{{- range printf "000%v" . | trunc -4 | splitList "" -}}
{{- $bits = printf "%s%04b" $bits (index (dict "a" 10 "b" 11 "c" 12 "d" 13 "e" 14 "f" 15) . | default (int .)) -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- range splitList "." $address -}}{{- $bits = printf "%s%08b" $bits (int .) -}}{{- end -}}
{{- end -}}
{{ contains ":" $address | ternary "6" "4" }}{{ trunc (last $parts | int) $bits }}
{{- end -}}
