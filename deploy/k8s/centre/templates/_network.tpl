{{/* (list root "kafka"): an egress rule to one of the servers: in the release (evaluation), else by values. */}}
{{- define "imaging.serverPeer" -}}
{{- $root := index . 0 -}}
{{- $server := index . 1 -}}
{{- if $root.Values.evaluation.enabled }}
{{- $pod := index (dict "kafka" "kafka" "mongodb" "mongodb" "objects" "minio" "oidc" "keycloak") $server }}
- to:
    - podSelector:
        matchLabels:
          {{- include "imaging.selector" (list $root $pod) | nindent 10 }}
  ports:
    - {port: {{ index (dict "kafka" "internal" "mongodb" "mongodb" "objects" "s3" "oidc" "http") $server }}}
{{- else }}
{{- include "imaging.outsidePeer" (index $root.Values.networkPolicy.servers $server) }}
{{- end }}
{{- end -}}

{{/* {to: […], ports: […]} of the values as an egress rule; an empty `to` is anywhere. */}}
{{- define "imaging.outsidePeer" }}
- ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
