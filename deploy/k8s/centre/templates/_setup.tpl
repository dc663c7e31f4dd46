{{/* The hospitals that have an edge agent, as JSON. */}}
{{- define "imaging.edges" -}}
{{- $hospitals := list -}}
{{- range .Values.region.hospitals }}{{ if ne .level "outside" }}{{ $hospitals = append $hospitals .hospital }}{{ end }}{{ end -}}
{{- $hospitals | toJson -}}
{{- end -}}

{{/* What `region setup` is told. A server without an address is not set up. */}}
{{- define "imaging.settings.setup" -}}
{{- $organisations := list -}}
{{- range .Values.region.organisations }}{{ $organisations = append $organisations .id }}{{ end -}}
SETUP_HOSPITALS: {{ include "imaging.edges" . | quote }}
SETUP_ORGANISATIONS: {{ $organisations | toJson | quote }}
SETUP_WAIT_SECONDS: {{ .Values.setup.waitSeconds | quote }}
SETUP_PORTAL_URL: {{ include "imaging.portalUrl" . | quote }}
SETUP_KAFKA_REPLICATION: {{ include "imaging.replication" . | quote }}
{{- if .Values.evaluation.enabled }}
SETUP_KAFKA_BOOTSTRAP: {{ include "imaging.kafkaBootstrap" . | quote }}
SETUP_MONGO_REPLICA_SET: {{ printf "%s/%s" .Values.mongodb.replicaSet (include "imaging.mongoHosts" .) | quote }}
SETUP_MINIO_ENDPOINT: {{ include "imaging.minioEndpoint" . | quote }}
SETUP_KEYCLOAK_URL: http://{{ include "imaging.name" (list . "keycloak") }}:{{ .Values.evaluation.keycloak.port }}
SETUP_MAIL_HOST: {{ include "imaging.name" (list . "mailbox") }}
SETUP_MAIL_PORT: "2525"
{{- else }}
{{- with .Values.setup.kafka }}
{{- if .enabled }}
SETUP_KAFKA_BOOTSTRAP: {{ include "imaging.kafkaBootstrap" $ | quote }}
SETUP_KAFKA_USERNAME: {{ .username | quote }}
SETUP_KAFKA_MECHANISM: {{ .mechanism }}
SETUP_KAFKA_TLS: {{ $.Values.kafka.tls | quote }}
{{- if $.Values.kafka.caSecret }}
SETUP_KAFKA_CA: /etc/imaging/kafka-ca/ca.crt
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.setup.objects.enabled }}
SETUP_MINIO_ENDPOINT: {{ include "imaging.minioEndpoint" . | quote }}
SETUP_MINIO_SECURE: {{ .Values.objects.tls | quote }}
{{- end }}
{{- if .Values.setup.keycloak.url }}
SETUP_KEYCLOAK_URL: {{ .Values.setup.keycloak.url | quote }}
SETUP_KEYCLOAK_USERNAME: {{ .Values.setup.keycloak.username | quote }}
SETUP_MAIL_HOST: {{ .Values.mail.host | quote }}
SETUP_MAIL_PORT: {{ .Values.mail.port | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* (list root "mongodb" "mongo"): the services that use a server, with their generated password, as YAML. */}}
{{- define "imaging.usersOf" -}}
{{- $root := index . 0 -}}
{{- $server := index . 1 -}}
{{- $kind := index . 2 -}}
{{- $users := dict -}}
{{- range $service, $plan := include "imaging.plan" $root | fromYaml -}}
{{- if has $server $plan.servers -}}
{{- $_ := set $users $service (include "imaging.random" (list $root (printf "%s-%s" $kind $service))) -}}
{{- end -}}
{{- end -}}
{{- $users | toYaml -}}
{{- end -}}

{{/* The secrets of the realm's clients and the passwords of its people, as YAML of variable: value. */}}
{{- define "imaging.realmVariables" -}}
{{- $root := . -}}
{{- $clients := list "portal" "onboarding" "consult-service" "notification-service" -}}
{{- range (include "imaging.edges" . | fromJsonArray) }}{{ $clients = append $clients (printf "edge-%s" .) }}{{ end -}}
{{- range .Values.region.organisations }}{{ $clients = append $clients (printf "ehr-%s" .id) }}{{ end -}}
{{- $variables := dict -}}
{{- range $clients -}}
{{- $_ := set $variables (printf "%s_CLIENT_SECRET" (. | upper | replace "-" "_")) (include "imaging.random" (list $root (printf "client-%s" .))) -}}
{{- end -}}
{{- range $person, $variable := .Values.evaluation.people -}}
{{- $_ := set $variables $variable (include "imaging.random" (list $root (printf "person-%s" $person))) -}}
{{- end -}}
{{- $variables | toYaml -}}
{{- end -}}

{{/* What `region setup` reads in /run/secrets, generated. */}}
{{- define "imaging.setupSecrets" -}}
{{- $keys := dict -}}
{{- range $user, $secret := include "imaging.usersOf" (list . "objects" "minio") | fromYaml -}}
{{- $_ := set $keys $user (list $user $secret) -}}
{{- end -}}
setup_kafka_password: {{ include "imaging.random" (list . "kafka-admin") }}
setup_kafka_users: {{ include "imaging.kafkaUsers" . | fromYaml | toJson | quote }}
setup_mongo_url: {{ include "imaging.mongoUrl" (list . "root") }}
setup_mongo_users: {{ include "imaging.usersOf" (list . "mongodb" "mongo") | fromYaml | toJson | quote }}
setup_minio_access_key: root-user
setup_minio_secret_key: {{ include "imaging.random" (list . "minio-root") }}
setup_minio_users: {{ $keys | toJson | quote }}
setup_keycloak_password: {{ include "imaging.random" (list . "keycloak-admin") }}
setup_realm_variables: {{ include "imaging.realmVariables" . | fromYaml | toJson | quote }}
{{- end -}}
