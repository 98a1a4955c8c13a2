{{- define "holter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- if contains $name .Release.Name -}}{{ .Release.Name }}{{- else -}}{{ printf "%s-%s" .Release.Name $name }}{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Children's names add at most 19 characters, and 63 is the most of a label. */ -}}
{{- define "holter.name" -}}
{{- include "holter.fullname" . | trunc 44 | trimSuffix "-" -}}
{{- end -}}

{{- define "holter.operator" -}}{{ include "holter.name" . }}-operator{{- end -}}
{{- define "holter.influxdb" -}}{{ include "holter.name" . }}-influxdb{{- end -}}
{{- define "holter.uninstall" -}}{{ include "holter.name" . }}-uninstall{{- end -}}

{{- /* Not `app.kubernetes.io/name: holter`: that is what cohorts' own selectors look for. */ -}}
{{- define "holter.selector" -}}
app.kubernetes.io/name: holter-{{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end -}}

{{- define "holter.labels" -}}
{{ include "holter.selector" . }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: holter
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_") }}
{{- end -}}

{{- define "holter.image" -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}

{{- /* The Secret with the operator's own connection, or nothing. */ -}}
{{- define "holter.connection" -}}
{{- if .Values.influxdb.existingSecret -}}
{{- if .Values.influxdb.install -}}
{{- fail "influxdb.existingSecret and influxdb.install exclude each other: the operator has one InfluxDB of its own" -}}
{{- end -}}
{{ .Values.influxdb.existingSecret }}
{{- else if .Values.influxdb.install -}}
{{ include "holter.influxdb" . }}
{{- end -}}
{{- end -}}

{{- define "holter.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "holter.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "holter.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}
