{{/* As everywhere: the service and its hospital. */}}
{{- define "edge.name" -}}
edge-agent-{{ .Values.hospital }}
{{- end -}}

{{- define "edge.selector" -}}
app.kubernetes.io/name: edge-agent
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "edge.labels" -}}
{{ include "edge.selector" . }}
app.kubernetes.io/part-of: imaging-cloud
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
imaging-cloud/hospital: {{ .Values.hospital }}
{{- end -}}

{{/* The ports that are on, as YAML of name: number. */}}
{{- define "edge.ports" -}}
{{- $names := dict "dimse" "dimse" "services" "services" "move" "move" "mllp" "mllp" "dimseTls" "dimse-tls" "servicesTls" "services-tls" -}}
{{- $ports := dict -}}
{{- range $key, $number := .Values.ports -}}
{{- if $number -}}{{- $_ := set $ports (index $names $key) (int $number) -}}{{- end -}}
{{- end -}}
{{- $ports | toYaml -}}
{{- end -}}

{{/* The agent's settings, as YAML of name: value. */}}
{{- define "edge.settings" -}}
{{- $values := .Values -}}
{{- $settings := dict
      "http_host" "0.0.0.0"
      "hospital" .Values.hospital
      "ae_title" .Values.aeTitle
      "kafka_username" (printf "edge-%s" .Values.hospital)
      "oidc_client_id" (printf "edge-%s" .Values.hospital)
      "dimse_host" "0.0.0.0"
      "dimse_port" .Values.ports.dimse
      "dimse_tls_port" .Values.ports.dimseTls
      "services_port" .Values.ports.services
      "services_tls_port" .Values.ports.servicesTls
      "move_port" .Values.ports.move
      "mllp_port" .Values.ports.mllp
      "mllp_host" "0.0.0.0"
      "spool_dir" "/var/lib/imaging-cloud/spool"
      "spool_limit_bytes" .Values.spool.limitBytes
      "ring_bytes" .Values.spool.ringBytes
      "tls_cert" "/run/secrets/tls.pem"
      "tls_key" "/run/secrets/tls.key"
      "tls_ca" "/run/secrets/ca.pem"
-}}
{{- $given := dict
      "kafka_bootstrap" .Values.centre.kafkaBootstrap
      "ingest_url" .Values.centre.ingestUrl
      "gateway_url" .Values.centre.gatewayUrl
      "oidc_issuer" .Values.centre.oidcIssuer
      "allowed_callers" .Values.allowedCallers
      "workstations" .Values.workstations
-}}
{{- if .Values.kafkaCa }}{{ $_ := set $given "kafka_ca" "/run/secrets/kafka-ca.pem" }}
{{- else if .Values.envSecret }}{{/* the bundle names a file of its own folder */}}{{ $_ := set $given "kafka_ca" "/run/secrets/ca.pem" }}{{ end -}}
{{- if not .Values.envSecret }}{{ $_ := set $given "kafka_tls" .Values.centre.kafkaTls }}{{ end -}}
{{- if .Values.pacs.aeTitle -}}
{{- $_ := set $given "pacs_ae_title" .Values.pacs.aeTitle -}}
{{- $_ := set $given "pacs_host" .Values.pacs.host -}}
{{- $_ := set $given "pacs_port" .Values.pacs.port -}}
{{- $_ := set $given "pacs_dicomweb_url" .Values.pacs.dicomwebUrl -}}
{{- $_ := set $given "pacs_retrieve" .Values.pacs.retrieve -}}
{{- end -}}
{{- /* What the bundle says (envSecret) must not be overridden by an empty value. */ -}}
{{- range $name, $value := $given }}{{ if ne ($value | toString) "" }}{{ $_ := set $settings $name $value }}{{ end }}{{ end -}}
{{- $settings = merge (deepCopy .Values.settings) $settings -}}
{{- range $name, $value := $settings }}
{{- /* A text as it is, everything else as JSON: to Helm large numbers are floats (4e+09). */}}
{{ $name }}: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
{{- end }}
{{- end -}}
